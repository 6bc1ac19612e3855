-- remind.lua: have a worker answer the intervention of a granted parked run that is still paused for it (rule 11).
--
-- A claim hears of its grant itself, and its step may have ended before that: the request was late, or sent twice.
--
-- needs: clock, keys, types, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  seen  the version of the run that the caller decided on
--
-- Returns {"reminded"}, or {"late"} when the run has changed since, or is to be answered already.

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run or tonumber(ARGV[3]) ~= (run.v or 0) or run.state ~= "granted" or not run.parked
    or call("ZSCORE", RESUMES, run.id) then
    return { "late" }
end
call("ZADD", RESUMES, NOW, run.id)
return { "reminded" }
