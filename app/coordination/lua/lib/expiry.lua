-- lib/expiry.lua: what is due ends before a script decides anything.
--
-- needs: clock, keys, runs, lines, grants, plans, reservations, ends

-- An outage that no sweep has noticed yet is not over: the first poll after it must not end everybody else.
local function outage_ended_at()
    local served_at = tonumber(call("HGET", COUNTERS, "served_at") or NOW)
    if NOW - served_at > OUTAGE_MS then
        return NOW
    end
    return tonumber(call("HGET", COUNTERS, "outage_at") or 0)
end

-- An outage of octowait is not the death of its waiters: their time starts anew when it serves again.
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
        -- Without an API key it stays unknown whether it works on.
        local stop = run.lingers and not run.has_key and stop_lingering or drop_presumption
        stop(run, "unknown")
    elseif what == "expect" and run.planned then
        learn_asks(run, false)
        run.machines = run.planned
        observe(run, "silent")
    elseif what == "expect" and run.state == "observed" then
        learn_asks(run, false)
        tell_overlaps(run, "silent")
    elseif what == "life" and not may_have_been_kept_away(run) then
        finish(run, "expired", run.state == "granted" and "uncollected" or "silence")
    end
end

-- Every script begins with this, so that no decision is made on somebody who is already gone.
-- Bounded: what is left over is the next call's, and the sweeper's.
local function expire_due()
    local opened_at = call("HGET", COUNTERS, "opened_at")
    if not opened_at then
        IS_OPEN = false
        if call("HSETNX", COUNTERS, "closed_at", NOW) == 1 then
            record("closed", nil, nil, "empty", nil)
        end
    end
    freed, bereaved = {}, {}
    for _, member in ipairs(call("ZRANGEBYSCORE", DEADLINES, "-inf", NOW, "LIMIT", 0, 100)) do
        -- An earlier one of this round may have ended it: one run can have two deadlines.
        if call("ZSCORE", DEADLINES, member) then
            local what, id = string.match(member, "^(%a+)%z(.*)$")
            if what == "expect" then
                call("ZREM", DEADLINES, member)
            end
            expire(what, id)
        end
    end
    local machines, families = freed, bereaved
    freed, bereaved = nil, nil
    grant_heads(machines)
    for _, family in ipairs(families) do
        refuse_circles(family)
    end
end

