-- lib/expiry.lua: deadlines: end every run and reservation that is due.
--
-- needs: clock, keys, types, runs, witness, lines, work, grants, plans, reservations, ends

-- End of the last outage, ms. An outage that no sweep has noticed yet ends now: the first poll after an outage must not
-- expire the other waiters.
local function outage_ended_at()
    local served_at = tonumber(call("HGET", COUNTERS, "served_at") or NOW)
    if NOW - served_at > OUTAGE_MS then
        return NOW
    end
    return tonumber(call("HGET", COUNTERS, "outage_at") or 0)
end

-- Whether an outage of octowait may have kept the waiter from polling: its time to live starts anew after the outage.
local function may_have_been_kept_away(run)
    local until_ms = outage_ended_at() + run.ttl_ms
    if NOW < until_ms then
        call("ZADD", DEADLINES, until_ms, "life\0" .. run.id)
        return true
    end
    return false
end

-- Whether a grant that nobody has collected stays in spite of that: its task may work all the same, and only Octopus can say
-- that it does not (rule 24). Nobody is asked for it in particular, since all that hold are asked about.
local function stays_in_doubt(run)
    if run.state ~= "granted" or not run.has_key then
        return false
    end
    call("ZREM", DEADLINES, "life\0" .. run.id)
    run.in_doubt = true
    save_run(run)
    return true
end

local function expire(what, id)
    if what == "reservation" then
        end_reservation(id, "until")
        return
    end
    local run = load_run(id)
    if not run then
        -- Left by a run that is gone: it ends nothing, and would come again and again.
        call("ZREM", DEADLINES, what .. "\0" .. id)
    elseif what == "timeout" and run.state == "waiting" then
        finish(run, "timed_out", "timeout")
    elseif what == "hold" and run.state == "granted" then
        finish(run, "released", "max_hold")
    elseif what == "grace" then
        finish(run, run.state == "granted" and "released" or "ended", "abandoned")
    elseif what == "provisional" and run.in_doubt then
        -- Octopus will never say.
        finish(run, "expired", "uncollected")
    elseif what == "provisional" then
        -- Without an API key nobody finds out whether the run works on.
        local stop = run.lingers and not run.has_key and stop_lingering or drop_presumption
        stop(run, "unknown")
    elseif what == "expect" and run.planned then
        remember_step(run, false)
        run.machines = run.planned
        observe(run, "silent")
    elseif what == "expect" and run.state == "observed" then
        remember_step(run, false)
        record_overlaps(run, "silent")
    elseif what == "life" then
        if not may_have_been_kept_away(run) and not stays_in_doubt(run) then
            finish(run, "expired", run.state == "granted" and "uncollected" or "silence")
        end
    else
        -- Its time has passed with nothing to end: it would come again and again.
        call("ZREM", DEADLINES, what .. "\0" .. id)
    end
end

-- Rule 5: whoever is about to be granted may have been due to end. Ends such a waiter.
local function ends_overdue(run)
    for _, what in ipairs({ "life", "timeout" }) do
        local at = call("ZSCORE", DEADLINES, what .. "\0" .. run.id)
        if at and tonumber(at) <= NOW then
            expire(what, run.id)
            if run.state ~= "waiting" then
                return true
            end
        end
    end
    return false
end

-- Deadlines that a script reads at most.
local MAX_DUE = 100

-- Whether the deadline *what* of a run is left to who does nothing else.
local function is_left_alone(what, id)
    local run = what ~= "reservation" and not SCORES[what] and load_run(id)
    return run and is_too_wide(run)
end

-- End what is due, and put what was left on the agenda: a *share* of it, and the next scripts and the sweep take the rest.
local function end_due(share)
    -- The next waiter of a line may be due as well.
    is_held_back = true
    local due = call("ZRANGEBYSCORE", DEADLINES, "-inf", NOW, "LIMIT", 0, MAX_DUE)
    local at = 0
    while due[at + 1] and work < share do
        local member = due[at + 1]
        local what, id = string.match(member, "^(%a+)%z(.*)$")
        if is_left_alone(what, id) then
            break
        end
        at = at + 1
        -- A run can have two deadlines, and the first one may have ended the run.
        if call("ZSCORE", DEADLINES, member) then
            if what == "expect" or SCORES[what] then
                call("ZREM", DEADLINES, member)
            end
            if SCORES[what] then
                put(what, id)
            else
                expire(what, id)
            end
        end
    end
    if at < #due or at == MAX_DUE then
        is_over_by_now = ends_overdue
    end
    is_held_back = false
end

-- Do a share of what was left of searches for circles: a run that waits for itself is refused on a closed board as well.
local function resume_circles()
    local circles = SCORES.circles
    for _, member in ipairs(call("ZRANGEBYSCORE", DEADLINES, circles, circles, "LIMIT", 0, MAX_DUE)) do
        call("ZREM", DEADLINES, member)
        put(string.match(member, "^(%a+)%z(.*)$"))
    end
    work_off(SHARE)
end

-- Scripts begin with this, so that no decision counts on a run whose deadline has passed. *is_own*: that is all they do.
local function expire_due(is_own)
    look_at_types()
    is_beside_own = not is_own
    if not OPENED_AT then
        IS_OPEN = false
        if not call("HGET", COUNTERS, "closed_at") then
            close_board("empty")
        end
        -- Nothing ends because of data that may be old.
        if is_own then
            resume_circles()
        end
    else
        local share = is_own and SHARE or BESIDE_OWN
        end_due(share)
        work_off(share)
    end
    -- Not its own work.
    has_left, is_beside_own = false, false
    if not is_own then
        BEGAN = running_clock()
    end
end
