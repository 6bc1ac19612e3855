-- presume.lua: some machines of a run are known, and not whether there are more: these are busy until all are (rule 19).
--
-- needs: due, runs, plans
--
-- ARGV[2]  task id
-- ARGV[3]  machine ids, JSON
--
-- Returns {"presumed"}, {"known"} when they are presumed busy with it already, or {"late"} when it is not to be found out
-- any more which it uses.

expire_due()
local run = load_run(ARGV[2])
if not run or not (run.lingers or (run.state == "started" and not run.planned)) then
    return { "late" }
end
return { presume(run, cjson.decode(ARGV[3]), "in_part", run.hold_ms) and "presumed" or "known" }
