-- release.lua: give a run's machines back, or take it out of its lines, and grant who is first there now.
--
-- ARGV[2]  task id
-- ARGV[3]  cause   step | forced | reconciled
-- ARGV[4]  detail  JSON: by, reason, and what else the record shall say
-- ARGV[5]  seen    "state run asked_at_ms" that the caller decided on, or "": whatever it is now
--
-- Returns {"released"}, {"left"} when it was waiting, or {"nothing"}.

expire_due()
local run = load_run(ARGV[2])
if not run or FINISHED[run.state] or run.state == "known" then
    return { "nothing" }
end
if ARGV[5] ~= "" and ARGV[5] ~= string.format("%s %d %.0f", run.state, run.run, run.asked_at_ms or 0) then
    -- It joined, ended or asked again since: what was found out is about an earlier run.
    return { "nothing" }
end
local was = run.state
if ARGV[3] == "reconciled" then
    run.end_seen = true
end
if was == "waiting" then
    finish(run, "left", ARGV[3], cjson.decode(ARGV[4]))
    return { "left" }
end
finish(run, was == "granted" and "released" or "ended", ARGV[3], cjson.decode(ARGV[4]))
return { "released" }
