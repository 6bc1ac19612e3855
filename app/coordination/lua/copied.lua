-- copied.lua: note that enough replicas have the grant of a run, so that it may be told.
--
-- needs: keys, types, runs, grants
--
-- ARGV[2]  task id
-- ARGV[3]  the fencing token of the grant
-- ARGV[4]  "asks" when its step hears of the grant in the answer to its request for a place, or ""
--
-- Returns {"copied"}, {"known"} when that was noted before, or {"gone"} when it does not hold by that token any more.

look_at_types()
local run = load_run(ARGV[2])
if not run or run.state ~= "granted" or run.token ~= tonumber(ARGV[3]) then
    return { "gone" }
end
if run.copied then
    return { "known" }
end
run.copied = true
save_run(run)
if ARGV[4] == "asks" then
    asking_task = lower(run.id)
end
expect_collection(run)
if hears(run) then
    call("ZREM", RESUMES, run.id)
end
wake(run)
return { "copied" }
