-- lib/expiry.lua: deadlines: end every run and reservation that is due.
--
-- needs: clock, keys, runs, witness, lines, grants, plans, reservations, ends

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

local function expire(what, id)
    if what == "reservation" then
        end_reservation(id, "until")
        return
    end
    local run = load_run(id)
    if what == "timeout" and run.state == "waiting" then
        finish(run, "timed_out", "timeout")
    elseif what == "hold" and run.state == "granted" then
        finish(run, "released", "max_hold")
    elseif what == "grace" then
        finish(run, run.state == "granted" and "released" or "ended", "abandoned")
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
    elseif what == "life" and not may_have_been_kept_away(run) then
        finish(run, "expired", run.state == "granted" and "uncollected" or "silence")
    end
end

-- Bounded to 100 deadlines: the next call and the sweep handle the others.
local function end_due()
    machines_to_grant, families_to_check = {}, {}
    for _, member in ipairs(call("ZRANGEBYSCORE", DEADLINES, "-inf", NOW, "LIMIT", 0, 100)) do
        -- A run can have two deadlines, and the first one may have ended the run.
        if call("ZSCORE", DEADLINES, member) then
            local what, id = string.match(member, "^(%a+)%z(.*)$")
            if what == "expect" then
                call("ZREM", DEADLINES, member)
            end
            expire(what, id)
        end
    end
    local machines, families = machines_to_grant, families_to_check
    machines_to_grant, families_to_check = nil, nil
    grant_heads(machines)
    for _, family in ipairs(families) do
        refuse_circles(family)
    end
end

-- Scripts begin with this, so that no decision counts on a run whose deadline has passed.
local function expire_due()
    if not call("HGET", COUNTERS, "opened_at") then
        IS_OPEN = false
        if not call("HGET", COUNTERS, "closed_at") then
            close_board("empty")
        end
        -- Nothing ends because of data that may be old.
        return
    end
    end_due()
end

