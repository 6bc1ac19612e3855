-- reserve.lua: reserve a machine: nobody new is granted until the reservation ends (rule 13). A second call changes the
-- note and the end.
--
-- needs: clock, keys, types, due, runs
--
-- ARGV[2]  machine id
-- ARGV[3]  the reservation, JSON: note, by, until_ms (optional)
--
-- Returns {"reserved", reservation JSON}, or {"past", now} when it would have ended already.

look_at_types()
expire_due()
local machine, reservation = lower(ARGV[2]), cjson.decode(ARGV[3])
if reservation.until_ms and reservation.until_ms <= NOW then
    return { "past", NOW }
end
local before = call("HGET", RESERVATIONS, machine)
register_machines({ ARGV[2] })
reservation.id = cjson.decode(call("HGET", MACHINES, machine)).id
reservation.since_ms = before and cjson.decode(before).since_ms or NOW
call("HSET", RESERVATIONS, machine, cjson.encode(reservation))
call("ZADD", HOLDERS, 0, machine .. "\0reservation\0")
call("ZREM", DEADLINES, "reservation\0" .. machine)
if reservation.until_ms then
    call("ZADD", DEADLINES, reservation.until_ms, "reservation\0" .. machine)
end
record("reserved", nil, { reservation.id }, nil, {
    by = reservation.by, note = reservation.note, until_ms = reservation.until_ms,
})
return { "reserved", cjson.encode(reservation) }
