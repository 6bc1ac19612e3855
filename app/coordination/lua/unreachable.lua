-- unreachable.lua: note that Octopus did not answer; record an outage of Octopus once that has lasted.
--
-- needs: clock, keys, types, runs
--
-- ARGV[2]  why, in a few words for people
-- ARGV[3]  how long it lasts at least, as Octopus itself said, ms; 0 if it said nothing
-- ARGV[4]  after how long a further failure is told, ms; what was said to last longer is told at once
--
-- Returns {"told"} when the record was written, {"noted"} before, {"known"} after.

look_at_types()
local since = tonumber(call("HGET", COUNTERS, "octopus_since"))
if not since then
    since = NOW
    call("HSET", COUNTERS, "octopus_since", NOW)
end
local failures = call("HINCRBY", COUNTERS, "octopus_failures", 1)
call("HSET", COUNTERS, "octopus_why", ARGV[2], "octopus_asked", NOW)
if call("HEXISTS", COUNTERS, "octopus_told") == 1 then
    return { "known" }
end
local has_lasted = failures > 1 and NOW - since >= tonumber(ARGV[4])
if not has_lasted and tonumber(ARGV[3]) < tonumber(ARGV[4]) then
    return { "noted" }
end
call("HSET", COUNTERS, "octopus_told", 1)
record("octopus_unreachable", nil, nil, nil, { why = ARGV[2], since_ms = since })
return { "told" }
