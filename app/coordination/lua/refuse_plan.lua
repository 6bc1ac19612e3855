-- refuse_plan.lua: set a deadline for the provisional hold of a run of which Octopus refuses for good to say anything, and for
-- a grant that nobody has collected in its time.
--
-- needs: clock, keys, types, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  for how long from now, ms
--
-- Returns {"noted"}, or {"late"} when the run has no such hold, or one with a deadline.

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run or not (run.presumed or run.in_doubt) or call("ZSCORE", DEADLINES, "provisional\0" .. run.id) then
    return { "late" }
end
call("ZADD", DEADLINES, NOW + tonumber(ARGV[3]), "provisional\0" .. run.id)
return { "noted" }
