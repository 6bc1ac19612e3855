-- recover.lua: observe a run that is under way in Octopus and waits or has ended here, where data may be old (rule 15).
--
-- After a restored backup, or a fail-over to a server that lagged, a run that waits here may have been granted long ago.
-- The step of a waiter would have shown life since the board was closed; a run at work has no step that could.
--
-- needs: clock, keys, runs, lines, ends, expiry, withdraw
--
-- ARGV[2]  task id
-- ARGV[3]  "parked" when it is paused for octowait's own intervention, "paused" when for another person, or "": it works
--
-- Returns {"observed"} when its machines are busy now, {"unresolved"} when they are to be found out, {"withdrawn"} when it
-- waits again for a grant that nobody has collected, {"kept"} when its state stays, or {"unknown"}.

expire_due()
local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
if IS_OPEN then
    -- An operator has opened the board meanwhile, and waiters may be granted.
    return { "kept" }
end
local is_paused = ARGV[3] ~= ""

local function is_silent()
    local life = call("ZSCORE", DEADLINES, "life\0" .. run.id)
    local shown_at = tonumber(life or 0) - run.ttl_ms
    -- The end of an outage gives every waiter its time to live anew.
    return shown_at < tonumber(call("HGET", COUNTERS, "closed_at")) or shown_at <= outage_ended_at()
end

-- Ends that came from Octopus, an operator or the run's own step stay ends, whatever Octopus says of the task now.
local function is_over()
    return run.end_seen or run.cause == "forced" or run.cause == "max_hold"
        or (run.cause == "step" and run.state == "released")
        or (is_paused and (run.gave_way or run.parked))
end

-- Whether nobody has come for its grant, since it waits: its step is there, or its intervention has not been answered.
local function still_waits()
    if call("ZSCORE", DEADLINES, "life\0" .. run.id) then
        return not is_silent()
    end
    return ARGV[3] == "parked"
end

if is_doubtful(run) and still_waits() then
    withdraw(run)
    return { "withdrawn" }
elseif is_doubtful(run) then
    collect(run)
    return { "kept" }
end
if run.state == "waiting" and not run.parked and is_silent() then
    stop_waiting(run)
elseif FINISHED[run.state] and not is_over() then
    call("ZREM", ENDED, lower(run.id))
    call("ZREM", RESUMES, run.id)
    run.paused, run.gave_way = is_paused or nil, nil
    if not run.machines then
        run.state = "started"
        run.ended_at_ms, run.cause, run.reason, run.refusal = nil, nil, nil, nil
        save_run(run)
        call("ZADD", UNRESOLVED, NOW, run.id)
        return { "unresolved" }
    end
else
    return { "kept" }
end
observe(run, "rebuilt")
return { "observed" }
