-- poll.lua: the status of a run.
--
-- needs: due, runs, lines, view
--
-- ARGV[2]  task id
-- ARGV[3]  "poll": its step asks, which is a sign of life and collects a grant; "look": somebody else does
--
-- Returns {"run", view...}, or {"unknown"}.

expire_due()
local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
if ARGV[3] == "poll" then
    show_life(run)
end
return view("run", run)
