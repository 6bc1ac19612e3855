-- poll.lua: the status of a run.
--
-- needs: clock, keys, types, due, runs, lines, claims, withdraw, view
--
-- ARGV[2]  task id
-- ARGV[3]  "poll": its step asks, which is a sign of life and collects a grant; "block": it asks, and the answer may come
--          when nobody is there any more to read it; "sleep": the same, and of a run that waits it reads only that;
--          "look": somebody else asks
-- ARGV[4]  claim  the id of the execution of the step that asks, or "". With one, only a "poll" collects, and only once the
--                 execution was told of the grant.
--
-- ARGV[5]  owner  whose token asks, or "": of who may do everything
--
-- Returns {"others", run JSON, now} when the run belongs to another owner, {"run", view...}, {"waits", ttl in ms} to a "sleep",
-- {"left", now} when that execution is over or another one has followed it, or {"unknown"}, also when it has not asked for a
-- place, or that was lost.

-- By which part of the time to live the life of a waiter may be too short, so that a step which blocks again as soon as it
-- is answered has nothing written.
local SHORTER = 64

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
if ARGV[3] == "sleep" and run.state == "waiting" then
    local ends_at = tonumber(call("ZSCORE", DEADLINES, "life\0" .. run.id) or 0)
    if ends_at < NOW + run.ttl_ms * (1 - 1 / SHORTER) then
        show_life(run)
    end
    return { "waits", run.ttl_ms }
end
if ARGV[3] == "look" then
    return view("run", run)
end
if run.state == "waiting" and not run.parked then
    -- All is read before the one change, of a key that was read: nothing breaks off behind it, and most polls look no further.
    local answer = view("run", run)
    show_life(run)
    return answer
end
look_at_types()
if is_doubtful(run) then
    withdraw(run)
else
    show_life(run, claim, ARGV[3] == "poll")
end
return view("run", run)
