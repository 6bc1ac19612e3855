-- put_off.lua: retry later to answer the intervention of a parked run.
--
-- needs: clock, keys, types, due, runs
--
-- ARGV[2]  task id
-- ARGV[3]  pause, ms
-- ARGV[4]  why, for the timeline, or "": it was said before
-- ARGV[5]  "refused" when it is not octowait's to answer, so that a person is needed, or ""
--
-- Returns {"put_off"}, or {"late"} when nothing is to be answered any more.

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run or not call("ZSCORE", RESUMES, run.id) then
    return { "late" }
end
call("ZADD", RESUMES, NOW + tonumber(ARGV[3]), run.id)
if ARGV[4] ~= "" then
    record("not_resumed", run, nil, nil, {
        reason = ARGV[4],
        refused = ARGV[5] == "refused" or nil,
    })
end
return { "put_off" }
