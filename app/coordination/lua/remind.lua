-- remind.lua: a parked run that was granted is still paused for its intervention, so that is to be answered (rule 11).
--
-- A claim whose first request comes late, or twice, hears of a grant that nobody tells its run of: its step has left.
--
-- needs: clock, keys, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  seen  the version of the run that the caller decided on
--
-- Returns {"reminded"}, or {"late"} when the run has changed since, or is to be answered already.

expire_due()
local run = load_run(ARGV[2])
if not run or tonumber(ARGV[3]) ~= (run.v or 0) or run.state ~= "granted" or not run.parked
    or call("ZSCORE", RESUMES, run.id) then
    return { "late" }
end
call("ZADD", RESUMES, NOW, run.id)
return { "reminded" }
