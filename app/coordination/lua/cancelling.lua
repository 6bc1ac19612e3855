-- cancelling.lua: remember since when Octopus has been trying to cancel a task: after ten minutes Octopus gives up, and
-- calls a task canceled whose script may still run.
--
-- needs: clock, types, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  seen  the version of the run that the caller decided on
--
-- Returns {"noted"}, or {"known"}.

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run or tonumber(ARGV[3]) ~= (run.v or 0) or run.cancelling_at_ms then
    return { "known" }
end
run.cancelling_at_ms = NOW
save_run(run)
return { "noted" }
