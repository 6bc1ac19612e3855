-- lib/ends.lua: the ends of waits and holds, and what begins or goes on without having asked.
--
-- needs: clock, keys, runs, lines, circles, grants, plans

-- Ends of a parked run that its Octopus task does not know of yet: it is still paused for its intervention.
local UNTOLD = { timeout = true, forced = true, task_cap = true, circle = true, max_hold = true }

-- Set only while `expire_due` runs: the families whose circles to look for once all deadlines are handled.
local bereaved

local refuse_circles

-- End what the run waits for or holds, whatever that is, and let the next ones start.
local function finish(run, state, cause, detail)
    local was, machines = run.state, run.machines or run.presumed or {}
    local is_untold = was == "waiting" or call("ZSCORE", RESUMES, run.id)
    call("ZREM", RESUMES, run.id)
    if was == "waiting" then
        stop_waiting(run)
    else
        for _, machine in ipairs(machines) do
            call("ZREM", HOLDERS, holder_member("lease", run, machine), holder_member("observed", run, machine))
        end
        stop_presuming(run)
        forget_deadlines(run)
    end
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
    if was == "observed" and run.outcome == "succeeded" and not run.requested_at_ms then
        learn_asks(run, false)
    end
    detail = detail or {}
    if was == "granted" then
        detail.held_ms = NOW - run.granted_at_ms
    elseif was == "waiting" then
        detail.waited_ms = NOW - run.requested_at_ms
    end
    run.state, run.ended_at_ms, run.cause, run.reason = state, NOW, cause, detail.reason
    run.by, run.refusal = detail.by, detail.refusal
    if is_untold and UNTOLD[cause] then
        tell_parked(run)
    end
    save_run(run)
    record(state, run, machines, cause, detail)
    if run.has_key and not run.parked and (was == "waiting" or cause == "uncollected") and may_work_on(run) then
        linger(run)
    end
    if was == "waiting" then
        wake(run)
    end
    grant_heads(machines)
    if run.family and was ~= "waiting" then
        -- What it shared with its family they wait for by now, behind whoever came before them.
        refuse_circles(run.family)
    end
end

local function refuse_circle(run, circle)
    finish(run, "refused", "circle", { refusal = { circle = circle } })
end

-- The waiting children of a family may turn out to wait for themselves when it holds less, or is known to hold more.
function refuse_circles(family)
    if bereaved then
        bereaved[#bereaved + 1] = family
        return
    end
    for _, task in ipairs(waiting_children(family)) do
        local child = load_run(task)
        -- Another one's refusal may have ended its wait.
        local circle = child.state == "waiting" and circle_of(child)
        if circle then
            refuse_circle(child, circle)
        end
    end
end

-- What was presumed of a run is over, and nobody knows its machines.
local function drop_presumption(run, cause, detail)
    local machines = stop_presuming(run)
    save_run(run)
    if #machines > 0 then
        record("dropped", run, machines, cause, detail)
    end
    grant_heads(machines)
end

-- A run whose wait was over is known not to work any more.
local function stop_lingering(run, cause, detail)
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
    run.lingers = nil
    drop_presumption(run, cause, detail)
end

-- Rule 8: somebody may be there already; then say so, unless one of the two is about to ask.
local function tell_overlaps(run, cause)
    local others = {}
    for _, machine in ipairs(run.machines or {}) do
        for _, other in ipairs(busy_with(lower(machine))) do
            local task = other[2]
            local there = task ~= run.id and other[1] ~= "provisional" and load_run(task)
            if there and not is_expected(there) and not (run.family and there.family == run.family) then
                others[task] = others[task] or {}
                table.insert(others[task], machine)
            end
        end
    end
    for task, machines in pairs(others) do
        record("overlapped", run, machines, cause, { with = task })
    end
end

-- Rule 8: nobody asked for these machines, and they are busy all the same.
local function observe(run, cause)
    local since, presumed = run.provisional_at_ms, stop_presuming(run)
    for _, machine in ipairs(run.machines or {}) do
        register_machine(machine)
        call("ZADD", HOLDERS, 0, holder_member("observed", run, machine))
    end
    if FINISHED[run.state] then
        run.wait_ended = run.state
        run.ended_at_ms, run.cause, run.reason, run.refusal = nil, nil, nil, nil
    end
    run.state, run.observed_at_ms, run.lingers, run.planned = "observed", since or NOW, nil, nil
    save_run(run)
    call("ZREM", UNRESOLVED, run.id)
    call("ZREM", ENDED, lower(run.id))
    record("observed", run, run.machines, cause, nil)
    if not is_expected(run) then
        tell_overlaps(run, cause)
    end
    grant_heads(presumed)
    grant_children(run.machines or {})
    if run.family then
        refuse_circles(run.family)
    end
end

-- Rule 11: the intervention of a parked run has been answered. Where that was before its turn, or after its turn was
-- over while its task waited on, it runs all the same.
local function answered(run, cause, detail)
    local is_over = FINISHED[run.state] and UNTOLD[run.cause] and not run.end_seen
    run.is_aborted = detail.result == "Abort" or nil
    save_run(run)
    local is_unasked = detail.result == "Proceed" and (run.state == "waiting" or is_over)
    call("ZREM", RESUMES, run.id)
    if is_unasked and is_over then
        call("ZREM", ENDED, lower(run.id))
    elseif is_unasked then
        stop_waiting(run)
    end
    record(detail.result and "resumed" or "not_resumed", run, run.machines, cause, detail)
    if is_unasked then
        observe(run, cause)
        return "overridden"
    end
    return "answered"
end

-- Octopus gives up on a task that it could not cancel for so long.
local ABANDONED_MS = 600000

-- Whether the machines of a run that has ended stay busy for a while, since Octopus may have abandoned its script.
local function put_off_end(run, grace_ms)
    local since = run.cancelling_at_ms
    local is_abandoned = run.outcome == "abandoned"
        or (run.outcome == "canceled" and since and NOW - since >= ABANDONED_MS)
    if not is_abandoned or grace_ms == 0 or not (run.state == "granted" or run.state == "observed") then
        return false
    end
    if not call("ZSCORE", DEADLINES, "grace\0" .. run.id) then
        call("ZADD", DEADLINES, NOW + grace_ms, "grace\0" .. run.id)
        save_run(run)
        record("abandoned", run, run.machines, nil, { grace_ms = grace_ms })
    end
    return true
end

