-- measure.lua: note what the clock of Octopus is ahead of ours, as one of its answers says.
--
-- Answers say whole seconds. What several say together is more than what each does, as long as they do not contradict each
-- other: then one of the clocks was set, and the last one counts.
--
-- needs: clock, keys, types, offset
--
-- ARGV[2]  least  ms
-- ARGV[3]  most   ms
--
-- Returns {"measured"}.

look_at_types()
local least, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local known_least, known_most, how = octopus_offset()
if how == "answer" and known_least <= most and least <= known_most then
    least, most = math.max(least, known_least), math.min(most, known_most)
end
call("HSET", COUNTERS, "offset_least", string.format("%.0f", least), "offset_most", string.format("%.0f", most))
call("HSET", COUNTERS, "offset_at", NOW)
return { "measured" }
