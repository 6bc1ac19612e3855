-- lib/ends.lua: the ends of waits and holds, and runs that are observed because they work without a lease.
--
-- needs: clock, keys, bulk, runs, lines, work, circles, grants, plans, claims

-- Causes of ends after which the Octopus task of a parked run is still paused for its intervention, to be answered.
local UNTOLD_CAUSES = { timeout = true, forced = true, task_cap = true, circle = true, max_hold = true }

-- Have the waiting children of a family looked at that wait for themselves, now that the family holds less or more.
local function refuse_circles(family)
    put("circles", family)
    work_off(SLICE)
end

-- End the wait or the hold of a run, and grant the next waiters.
local function finish(run, state, cause, detail)
    local was, machines, delayed_since = run.state, run.machines or run.presumed or {}, nil
    local is_untold = call("ZREM", RESUMES, run.id) == 1 or was == "waiting"
    if was == "waiting" then
        stop_waiting(run)
    else
        spend(MOVE * #machines)
        if was ~= "observed" then
            let_go("lease", run, machines)
        end
        if was ~= "granted" then
            let_go("observed", run, machines)
        end
        forget_families()
        local _, since = give_up_presumed(run)
        delayed_since = since
        forget_deadlines(run)
    end
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
    if was == "observed" and run.outcome == "succeeded" and not run.requested_at_ms then
        remember_step(run, false)
    end
    detail = detail or {}
    if was == "granted" then
        detail.held_ms = math.max(0, NOW - run.granted_at_ms)
    elseif was == "waiting" then
        detail.waited_ms = math.max(0, NOW - run.requested_at_ms)
    end
    run.state, run.ended_at_ms, run.cause, run.reason = state, NOW, cause, detail.reason
    run.by, run.refusal, run.in_doubt = detail.by, detail.refusal, nil
    if is_untold and UNTOLD_CAUSES[cause] then
        queue_resume(run)
    end
    save_run(run)
    record(state, run, machines, cause, detail)
    if state ~= "expired" then
        -- Whoever was only silent for too long may ask for a place again.
        end_claim(run.id, run.claim)
    end
    if run.has_key and not run.parked and (was == "waiting" or cause == "uncollected") and may_work_on(run) then
        linger(run)
    end
    if was == "waiting" then
        wake(run)
    end
    grant_heads(machines, delayed_since)
    if run.family and was ~= "waiting" then
        -- The children now wait for the machines that they shared with this run, behind earlier waiters.
        refuse_circles(run.family)
    end
end

local function refuse_circle(run, circle)
    finish(run, "refused", "circle", { refusal = { circle = circle } })
end

-- Work of a script behind which no search for circles begins: that can take as long as all that a script may do. Nor does it
-- beside work of its own.
local MOST_BEFORE_SEARCH = 500

local function leaves_searches()
    if work > MOST_BEFORE_SEARCH or is_beside_own then
        spend(limit)
        return true
    end
    return false
end

doing.circle = function(task)
    if leaves_searches() then
        put("circle", task)
        return
    end
    local run = load_run(task)
    local circle = run and run.state == "waiting" and circle_of(run)
    if circle then
        refuse_circle(run, circle)
    end
end

-- One search for all of them, those that came first before the others; it begins anew once one of them is refused, and for
-- a child to which the search came: whoever was searched before may be on its circle.
doing.circles = function(id)
    local family, after = string.match(id, "^(%d+)%z?(.*)$")
    if leaves_searches() then
        put("circles", id)
        return
    end
    local search, is_first = new_search(), true
    for _, child in ipairs(children_by_order(tonumber(family), search)) do
        if child.order > after then
            local is_anew = search.came_by[child.id] ~= nil
            -- What is left of the lines after the first child is short, or it is searched in a script of its own.
            search.most = is_first and MAX_SEARCHED or search.count + MAX_SEARCHED / 10
            local is_full = search.count > 1.2 * MAX_SEARCHED or search.looks > MAX_LOOKS or (is_anew and is_enough())
            local circle = (is_first or not is_full) and circle_of(child, is_anew and new_search() or search)
            if not is_first and (is_full or search.is_cut) then
                put("circles", family .. "\0" .. after)
                return
            end
            is_first = false
            if circle then
                put("circles", family)
                refuse_circle(load_run(child.id), circle)
                return
            end
            after = child.order
            if search.is_cut then
                put("circles", family .. "\0" .. after)
                return
            end
        end
    end
end

-- End the provisional hold of a run whose machines nobody knows.
local function drop_presumption(run, cause, detail)
    local machines, since = stop_presuming(run)
    save_run(run)
    if #machines > 0 then
        record("dropped", run, machines, cause, detail)
    end
    grant_heads(machines, since)
end

-- End the provisional hold of a run whose wait was over, now that its task is known not to work any more.
local function stop_lingering(run, cause, detail)
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
    run.lingers = nil
    drop_presumption(run, cause, detail)
end

-- Other runs at work of which an observed run leaves a record at most: each has one of its own besides.
local MAX_OVERLAPS = 20

-- Machines that these records name, all together, before each names one only and how many more there are; and holders of
-- its machines that are looked at for them, beside one of each.
local MAX_OVERLAP_MACHINES, MAX_OVERLAP_LOOKS = 1000, 5000

-- Rule 8: record the other runs at work on the run's machines, except for those that are about to ask.
local function record_overlaps(run, cause)
    local others, order, ids, count = {}, {}, lower_ids(run.machines or {}), 0
    local holders_in = reader_of(HOLDERS, ids)
    for at, id in ipairs(ids) do
        local machine, members = run.machines[at], holders_in(at)
        local holders = members and runs_in(members) or busy_with(id, MAX_OVERLAPS + 1)
        count = count + #holders
        if count > MAX_OVERLAP_LOOKS + #ids then
            break
        end
        for _, other in ipairs(holders) do
            local task = other[2]
            local is_counted = others[task] or #order < MAX_OVERLAPS
            local there = task ~= run.id and other[1] ~= "provisional" and is_counted and load_run(task)
            if there and not is_expected(there) and not (run.family and there.family == run.family) then
                if not others[task] then
                    others[task] = {}
                    order[#order + 1] = task
                end
                table.insert(others[task], machine)
            end
        end
        spend(1)
    end
    local left = MAX_OVERLAP_MACHINES
    for _, task in ipairs(order) do
        local named = { unpack(others[task], 1, math.max(1, math.min(#others[task], left))) }
        local more = #others[task] - #named
        left = left - #named
        record("overlapped", run, named, cause, { with = task, more = more > 0 and more or nil })
    end
end

-- Rule 8: make the machines of a run busy that did not ask for them.
local function observe(run, cause)
    local since = run.provisional_at_ms
    local presumed, delayed_since = stop_presuming(run)
    spend(MOVE * #(run.machines or {}))
    register_machines(run.machines or {})
    hold("observed", run, run.machines or {})
    forget_families()
    if FINISHED[run.state] then
        run.wait_ended = run.state
        run.wait_end = {
            ended_at_ms = run.ended_at_ms, cause = run.cause, reason = run.reason, by = run.by, refusal = run.refusal,
        }
        run.ended_at_ms, run.cause, run.reason, run.refusal = nil, nil, nil, nil
    end
    run.state, run.observed_at_ms, run.lingers, run.planned = "observed", since or NOW, nil, nil
    run.unchecked = nil
    save_run(run)
    call("ZREM", UNRESOLVED, run.id)
    call("ZREM", ENDED, lower(run.id))
    record("observed", run, run.machines, cause, nil)
    if not is_expected(run) then
        record_overlaps(run, cause)
    end
    if run.family then
        put("children", run.family)
        put("circles", run.family)
    end
    grant_heads(presumed, delayed_since)
end

-- Rule 11: the intervention of a parked run has been answered. A run that was let go on before its turn, or after its turn
-- was over, is observed.
local function answered(run, cause, detail)
    local has_ended = FINISHED[run.state] and UNTOLD_CAUSES[run.cause] and not run.end_seen
    run.is_aborted = detail.result == "Abort" or nil
    if detail.result == "Proceed" and run.state == "granted" then
        -- Whoever waited for its grant has gone on.
        collect(run)
    end
    save_run(run)
    local is_unasked = detail.result == "Proceed" and (run.state == "waiting" or has_ended)
    call("ZREM", RESUMES, run.id)
    if is_unasked and has_ended then
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

-- Time, ms, after which Octopus gives up on a task that it cannot cancel.
local ABANDONED_MS = 600000

-- Whether the machines of an ended run stay busy for *grace_ms*, since Octopus may have abandoned a script at work.
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

