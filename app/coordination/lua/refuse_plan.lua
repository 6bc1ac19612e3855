-- refuse_plan.lua: Octopus has said for good that it tells nothing of a run, so its machines are presumed busy only so long.
--
-- needs: clock, keys, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  for how long from now, ms
--
-- Returns {"noted"}, or {"late"} when nothing is presumed of it, or that has its end already.

expire_due()
local run = load_run(ARGV[2])
if not run or not run.presumed or call("ZSCORE", DEADLINES, "provisional\0" .. run.id) then
    return { "late" }
end
call("ZADD", DEADLINES, NOW + tonumber(ARGV[3]), "provisional\0" .. run.id)
return { "noted" }
