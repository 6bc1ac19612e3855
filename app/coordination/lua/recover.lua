-- recover.lua: what is known here of a run that Octopus says is under way may be older than that (rule 15).
--
-- After a backup was restored, or a fail-over to a server that lagged, a waiter may have been granted long ago. Its step
-- would have shown life since the board was closed; one that works has none that could.
--
-- needs: clock, keys, runs, lines, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  "paused" when it is paused for a person, or "": it works
--
-- Returns {"observed"} when its machines are busy now, {"unresolved"} when they are to be found out, {"kept"} when what is
-- known of it stands, or {"unknown"}.

expire_due()
local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
if IS_OPEN then
    -- An operator has opened the board meanwhile, and what waits may be granted.
    return { "kept" }
end
local is_paused = ARGV[3] == "paused"

local function is_silent()
    local life = call("ZSCORE", DEADLINES, "life\0" .. run.id)
    local shown_at = tonumber(life or 0) - run.ttl_ms
    -- The end of an outage gives everybody the same time anew.
    return shown_at < tonumber(call("HGET", COUNTERS, "closed_at")) or shown_at <= outage_ended_at()
end

-- Ends that somebody who knew has told of: they are true whatever Octopus says of the task.
local function is_over()
    return run.end_seen or run.cause == "forced" or run.cause == "max_hold"
        or (run.cause == "step" and run.state == "released")
        or (is_paused and (run.gave_way or run.parked))
end

if run.state == "granted" and not run.parked and not run.collected and is_silent() then
    run.collected = true
    call("ZREM", DEADLINES, "life\0" .. run.id)
    save_run(run)
    return { "kept" }
end
if run.state == "waiting" and not run.parked and is_silent() then
    stop_waiting(run)
elseif FINISHED[run.state] and not is_over() then
    call("ZREM", ENDED, lower(run.id))
    call("ZREM", RESUMES, run.id)
    run.paused = is_paused or nil
    run.ended_at_ms, run.cause, run.reason, run.refusal, run.gave_way = nil, nil, nil, nil, nil
    if not run.machines then
        run.state = "started"
        save_run(run)
        call("ZADD", UNRESOLVED, NOW, run.id)
        return { "unresolved" }
    end
else
    return { "kept" }
end
observe(run, "rebuilt")
return { "observed" }
