-- lib/reservations.lua: the ends of reservations (rule 13).
--
-- needs: keys, runs, grants

-- End the reservation of a machine (lower-case id); whether there was one.
local function end_reservation(machine, cause, detail)
    local raw = call("HGET", RESERVATIONS, machine)
    if not raw then
        return false
    end
    local id = cjson.decode(raw).id
    call("HDEL", RESERVATIONS, machine)
    call("ZREM", HOLDERS, machine .. "\0reservation\0")
    call("ZREM", DEADLINES, "reservation\0" .. machine)
    record("unreserved", nil, { id }, cause, detail)
    grant_heads({ machine })
    return true
end

