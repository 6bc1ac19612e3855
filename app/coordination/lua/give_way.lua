-- give_way.lua: a run is paused for a person, and paused runs give way here: take its machines back (rule 9).
--
-- needs: keys, runs, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  seen    the version of the run that the caller decided on
-- ARGV[4]  detail  JSON: interruption
--
-- Returns {"gave_way"}, or {"late"} when the run has changed since, holds nothing, or is a parked run that is paused for
-- the intervention that lets it go on.

expire_due()
local run = load_run(ARGV[2])
if not run or tonumber(ARGV[3]) ~= (run.v or 0) or not (run.state == "granted" or run.state == "observed")
    or call("ZSCORE", RESUMES, run.id) then
    return { "late" }
end
run.paused, run.gave_way = true, true
finish(run, run.state == "granted" and "released" or "ended", "paused", cjson.decode(ARGV[4]))
return { "gave_way" }
