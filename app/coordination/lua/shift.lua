-- shift.lua: undo a jump of the Redis server's clock: time goes on as if there had been none (rule 17).
--
-- needs: clock, keys, types, runs
--
-- ARGV[2]  the shift as the caller knows it, ms
-- ARGV[3]  by how much the time has jumped, ms
--
-- Returns {"shifted"}, or {"late"} when somebody else has done so since.

look_at_types()
local shift, jump = tonumber(call("HGET", COUNTERS, "shift_ms") or 0), tonumber(ARGV[3])
if shift ~= tonumber(ARGV[2]) then
    return { "late" }
end
call("HSET", COUNTERS, "shift_ms", string.format("%.0f", shift - jump))
call("HINCRBY", COUNTERS, "shift_changes", 1)
NOW = NOW - jump
record("clock_jumped", nil, nil, nil, { by_ms = jump, shift_ms = shift - jump })
return { "shifted" }
