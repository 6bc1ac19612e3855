-- lib/types.lua: a look at the types of all keys of the board, before a script writes anything.
--
-- Redis takes nothing back of a script that breaks off, and one that meets a key of another type breaks off: with this it
-- does so before its first change. Each call here is the cheapest that only that type takes; together they take some 5
-- microseconds. What is not there has no wrong type. Keys behind a prefix are looked at where they are written
-- (lib/runs.lua, lib/plans.lua).
--
-- needs: keys

local are_types_known = false

local function look_at_types()
    if are_types_known then
        return
    end
    are_types_known = true
    call("HLEN", RUNS)
    call("ZCARD", LINES)
    call("ZCARD", HOLDERS)
    call("ZCARD", DEADLINES)
    call("HLEN", MACHINES)
    call("ZCARD", EVENTS)
    call("HLEN", ALIASES)
    call("ZCARD", ENDED)
    call("XLEN", TIMELINE)
    call("SCARD", BLOCKING)
    call("ZCARD", ENDED_CLAIMS)
    call("XLEN", CHANGES)
    call("HLEN", EPOCHS)
    call("HLEN", WANTS)
    call("ZCARD", PROCESSES)
    -- Of these there is none most of the time.
    if call("EXISTS", RESERVATIONS, UNRESOLVED, CHILDREN, RESUMES, BATCHES, OLD_STEPS, OWNED, UNCHECKED, QUOTAS, DELAYS) > 0 then
        call("HLEN", RESERVATIONS)
        call("ZCARD", UNRESOLVED)
        call("ZCARD", CHILDREN)
        call("ZCARD", RESUMES)
        call("ZCARD", BATCHES)
        call("HLEN", OLD_STEPS)
        call("ZCARD", OWNED)
        call("ZCARD", UNCHECKED)
        call("HLEN", QUOTAS)
        call("HLEN", DELAYS)
    end
end

