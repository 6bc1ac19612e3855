-- reachable.lua: note that Octopus has answered; record that where an outage of Octopus was recorded.
--
-- needs: clock, keys, types, runs
--
-- Returns {"told"} when the record was written, {"noted"} when only some failures are forgotten, or {"nothing"}.

look_at_types()
local since = tonumber(call("HGET", COUNTERS, "octopus_since"))
if not since then
    return { "nothing" }
end
local why, told = call("HGET", COUNTERS, "octopus_why"), call("HEXISTS", COUNTERS, "octopus_told")
call("HDEL", COUNTERS, "octopus_since", "octopus_failures", "octopus_why", "octopus_asked", "octopus_told")
if told == 0 then
    return { "noted" }
end
record("octopus_reachable", nil, nil, nil, { why = why, since_ms = since, away_ms = math.max(0, NOW - since) })
return { "told" }
