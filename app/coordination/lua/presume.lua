-- presume.lua: add machines to the provisional hold of a run, of which some machines are known by now (rule 19).
--
-- needs: types, due, runs, plans
--
-- ARGV[2]  task id
-- ARGV[3]  machine ids, JSON
--
-- Returns {"presumed"}, {"known"} when the hold has these machines already, or {"late"} when nobody looks for the run's
-- machines any more.

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run or not (run.lingers or (run.state == "started" and not run.planned)) then
    return { "late" }
end
return { presume(run, cjson.decode(ARGV[3]), "in_part", run.hold_ms) and "presumed" or "known" }
