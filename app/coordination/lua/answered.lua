-- answered.lua: the intervention that a parked run is paused for has been answered, or will not be any more (rule 11).
--
-- needs: runs, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  cause   octowait | by_hand | task_ended
-- ARGV[4]  detail  JSON: result (Proceed | Abort; none where the task has ended), interruption, by
-- ARGV[5]  seen    the version of the run that the caller decided on, or "": whatever it is now
--
-- Returns {"answered"}, {"overridden"} when the run goes on without a lease and is observed now, or {"late"}.

expire_due()
local run = load_run(ARGV[2])
if not run or (ARGV[5] ~= "" and tonumber(ARGV[5]) ~= (run.v or 0)) then
    return { "late" }
end
return { answered(run, ARGV[3], cjson.decode(ARGV[4])) }
