-- poll.lua: the status of a run.
--
-- needs: clock, due, runs, lines, claims, withdraw, view
--
-- ARGV[2]  task id
-- ARGV[3]  "poll": its step asks, which is a sign of life and collects a grant; "block": it asks, and the answer may come
--          when nobody is there any more to read it; "look": somebody else asks
-- ARGV[4]  claim  the id of the execution of the step that asks, or "". With one, only a "poll" collects, and only once the
--                 execution was told of the grant.
--
-- ARGV[5]  owner  whose token asks, or "": of who may do everything
--
-- Returns {"others", run JSON, now} when the run belongs to another owner, {"run", view...}, {"left", now} when that
-- execution is over or another one has followed it, or {"unknown"}, also when it has not asked for a place, or that was lost.

expire_due()
local run = load_run(ARGV[2])
local claim = ARGV[3] ~= "look" and ARGV[4] ~= "" and ARGV[4]
if claim and not (run and run.claim == claim) and is_over(ARGV[2], claim) then
    return { "left", NOW }
end
if not run or (claim and run.claim ~= claim) then
    return { "unknown" }
end
if is_anothers(run, ARGV[5]) then
    return { "others", cjson.encode(run), NOW }
end
if ARGV[3] ~= "look" and is_doubtful(run) then
    withdraw(run)
elseif ARGV[3] ~= "look" then
    show_life(run, claim, ARGV[3] == "poll")
end
return view("run", run)
