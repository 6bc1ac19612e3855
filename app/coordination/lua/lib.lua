-- lib.lua: what every script starts with; the loader puts it in front of each of them.
--
-- One run is one JSON value in RUNS. Who waits and who holds are members of sorted sets whose scores are all 0, so that the
-- head of a line, a place in it and "is this machine free" are ZRANGEBYLEX and ZLEXCOUNT: log(n) whatever the number of waiters.
-- Machine ids in members are lower-case, run ids are as Octopus writes them; NUL separates the parts.
--
-- KEYS[1]   runs          hash    task id (lower-case) -> run, JSON
-- KEYS[2]   lines         zset    machine NUL order NUL task id
-- KEYS[3]   holders       zset    machine NUL lease|observed NUL task id, and machine NUL reservation NUL
-- KEYS[4]   deadlines     zset    life|timeout|hold NUL task id, reservation NUL machine -> ms
-- KEYS[5]   reservations  hash    machine -> {id, note, by, since_ms, until_ms}, JSON
-- KEYS[6]   counters      hash    order, token, stamp, served_at, outage_at
-- KEYS[7]   machines      hash    machine -> {id, name}, JSON
-- KEYS[8]   events        zset    event id -> ms it was first seen
-- KEYS[9]   aliases       hash    deployment or runbook run id (lower-case) -> task id
-- KEYS[10]  unresolved    zset    task id -> ms; observed runs whose machines are not known yet
-- KEYS[11]  ended         zset    task id (lower-case) -> ms it ended; what retention reads
-- KEYS[12]  timeline      stream  every change
-- KEYS[13]  index         prefix  of the record ids by run: (lists), machine: and project: (streams), and the id
-- KEYS[14]  wake          prefix  of the wake list of a run
-- KEYS[15]  wakes         channel the task id of a run that waits no longer
-- ARGV[1]   what the clock is ahead of the server's, ms; 0 but in tests

local RUNS, LINES, HOLDERS, DEADLINES, RESERVATIONS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local COUNTERS, MACHINES, EVENTS, ALIASES, UNRESOLVED = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local ENDED, TIMELINE, INDEX, WAKE, WAKES = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]

local call = redis.call
local lower = string.lower

local function now_ms()
    local time = call("TIME")
    return time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
end

local NOW = now_ms()

-- States in which a run neither waits nor makes a machine busy.
local FINISHED = { released = true, left = true, expired = true, timed_out = true, refused = true, ended = true }

-- A list shown to a person is cut here, so that a poll costs the same behind ten runs and behind ten thousand.
local MOST_AHEAD = 20

-- Without a sweep of somebody who serves waiters for this long, octowait was away.
local OUTAGE_MS = 10000

local function load_run(task)
    local raw = call("HGET", RUNS, lower(task))
    return raw and cjson.decode(raw)
end

local function save_run(run)
    call("HSET", RUNS, lower(run.id), cjson.encode(run))
end

local function span(machine)
    return "[" .. machine .. "\0", "(" .. machine .. "\1"
end

local function line_member(run, machine)
    return lower(machine) .. "\0" .. run.order .. "\0" .. run.id
end

local function holder_member(kind, run, machine)
    return lower(machine) .. "\0" .. kind .. "\0" .. run.id
end

-- The stream takes our clock as its id. It never goes back, even when a fail-over brings a server whose clock is behind.
local function next_stamp()
    local last = call("HGET", COUNTERS, "stamp") or "0-0"
    local dash = string.find(last, "-", 1, true)
    local ms, seq = tonumber(string.sub(last, 1, dash - 1)), tonumber(string.sub(last, dash + 1))
    local stamp
    if NOW > ms then
        stamp = string.format("%.0f-0", NOW)
    else
        stamp = string.format("%.0f-%d", ms, seq + 1)
    end
    call("HSET", COUNTERS, "stamp", stamp)
    return stamp
end

local function id_of(info, what)
    local thing = info and info[what]
    return type(thing) == "table" and type(thing.id) == "string" and thing.id ~= "" and thing.id or nil
end

-- Rule 16: the record of a change, in the same step as the change. *detail* is a table or nil.
local function record(kind, run, machines, cause, detail)
    local fields = { "kind", kind }
    local function add(name, value)
        if value and value ~= "" then
            fields[#fields + 1] = name
            fields[#fields + 1] = value
        end
    end
    add("task", run and run.id)
    add("run", run and run.run)
    add("machines", machines and table.concat(machines, ","))
    local project = id_of(run and run.info, "project")
    add("project", project)
    add("environment", id_of(run and run.info, "environment"))
    add("cause", cause)
    add("detail", detail and next(detail) and cjson.encode(detail))
    local stamp = next_stamp()
    call("XADD", TIMELINE, stamp, unpack(fields))
    if run then
        -- A list: a stream takes some kilobytes even for the few records of one run.
        call("RPUSH", INDEX .. "run:" .. lower(run.id), stamp)
        if project then
            call("XADD", INDEX .. "project:" .. lower(project), stamp, "", "")
        end
    end
    for _, machine in ipairs(machines or {}) do
        call("XADD", INDEX .. "machine:" .. lower(machine), stamp, "", "")
    end
end

local function register_machine(machine)
    call("HSETNX", MACHINES, lower(machine), cjson.encode({ id = machine }))
end

-- The list wakes a client that blocks on Redis itself, the channel a web process that blocks for its clients.
local function wake(run)
    local list = WAKE .. run.id
    call("DEL", list)
    call("RPUSH", list, run.state)
    call("PEXPIRE", list, math.max(60000, run.ttl_ms or 0))
    call("PUBLISH", WAKES, lower(run.id))
end

local function forget_deadlines(run)
    call("ZREM", DEADLINES, "life\0" .. run.id, "timeout\0" .. run.id, "hold\0" .. run.id)
end

-- A parked run sends no sign of life: it lives as long as its task (rule 11).
local function show_life(run)
    if run.parked then
        return
    end
    if run.state == "waiting" then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    elseif run.state == "granted" and not run.collected then
        run.collected = true
        call("ZREM", DEADLINES, "life\0" .. run.id)
        save_run(run)
    end
end

local function head(machine)
    local from, to = span(machine)
    local first = call("ZRANGEBYLEX", LINES, from, to, "LIMIT", 0, 1)[1]
    -- The order is 26 digits between two NULs.
    return first and string.sub(first, #machine + 29)
end

local function is_free(machine)
    local from, to = span(machine)
    return call("ZLEXCOUNT", HOLDERS, from, to) == 0
end

local function may_start(run)
    for _, machine in ipairs(run.machines) do
        local m = lower(machine)
        if head(m) ~= run.id or not is_free(m) then
            return false
        end
    end
    return true
end

local function grant(run)
    for _, machine in ipairs(run.machines) do
        call("ZREM", LINES, line_member(run, machine))
        call("ZADD", HOLDERS, 0, holder_member("lease", run, machine))
    end
    forget_deadlines(run)
    run.state, run.order, run.collected = "granted", nil, false
    run.token = call("HINCRBY", COUNTERS, "token", 1)
    run.granted_at_ms = NOW
    if not run.parked then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    end
    if run.max_hold_ms then
        call("ZADD", DEADLINES, NOW + run.max_hold_ms, "hold\0" .. run.id)
    end
    save_run(run)
    record("granted", run, run.machines, nil, { token = run.token, waited_ms = NOW - run.requested_at_ms })
    wake(run)
end

-- While the due are ended, the machines to grant afterwards: the next in line may be due as well.
local freed

-- One pass is enough: a grant takes machines away, so it can make nobody else ready.
local function grant_heads(machines)
    local seen = {}
    if freed then
        for _, machine in ipairs(machines) do
            freed[#freed + 1] = machine
        end
        return
    end
    for _, machine in ipairs(machines) do
        local task = head(lower(machine))
        if task and not seen[task] then
            seen[task] = true
            local run = load_run(task)
            if may_start(run) then
                grant(run)
            end
        end
    end
end

-- End what the run waits for or holds, whatever that is, and let the next ones start.
local function finish(run, state, cause, detail)
    local was, machines = run.state, run.machines or {}
    for _, machine in ipairs(machines) do
        if was == "waiting" then
            call("ZREM", LINES, line_member(run, machine))
        else
            call("ZREM", HOLDERS, holder_member("lease", run, machine), holder_member("observed", run, machine))
        end
    end
    forget_deadlines(run)
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
    detail = detail or {}
    if was == "granted" then
        detail.held_ms = NOW - run.granted_at_ms
    elseif was == "waiting" then
        detail.waited_ms = NOW - run.requested_at_ms
    end
    run.state, run.order, run.ended_at_ms, run.cause, run.reason = state, nil, NOW, cause, detail.reason
    run.by = detail.by
    save_run(run)
    record(state, run, machines, cause, detail)
    if was == "waiting" then
        wake(run)
    end
    grant_heads(machines)
end

-- Rule 8: nobody asked for these machines, so somebody may be there already; then say so.
local function observe(run, cause)
    local others = {}
    for _, machine in ipairs(run.machines or {}) do
        register_machine(machine)
        local from, to = span(lower(machine))
        for _, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to)) do
            local kind, task = string.match(string.sub(member, #machine + 2), "^(%a+)%z(.*)$")
            if kind ~= "reservation" and task ~= run.id then
                others[task] = others[task] or {}
                table.insert(others[task], machine)
            end
        end
        call("ZADD", HOLDERS, 0, holder_member("observed", run, machine))
    end
    run.state, run.observed_at_ms = "observed", NOW
    save_run(run)
    call("ZREM", UNRESOLVED, run.id)
    record("observed", run, run.machines, cause, nil)
    for task, machines in pairs(others) do
        record("overlapped", run, machines, cause, { with = task })
    end
end

local function end_reservation(machine, cause, detail)
    local raw = call("HGET", RESERVATIONS, machine)
    if not raw then
        return false
    end
    local id = cjson.decode(raw).id
    call("HDEL", RESERVATIONS, machine)
    call("ZREM", HOLDERS, machine .. "\0reservation\0")
    call("ZREM", DEADLINES, "reservation\0" .. machine)
    record("unreserved", nil, { id }, cause, detail)
    grant_heads({ machine })
    return true
end

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
    elseif what == "life" and not may_have_been_kept_away(run) then
        finish(run, "expired", run.state == "granted" and "uncollected" or "silence")
    end
end

-- Every script begins with this, so that no decision is made on somebody who is already gone.
-- Bounded: what is left over is the next call's, and the sweeper's.
local function expire_due()
    freed = {}
    for _, member in ipairs(call("ZRANGEBYSCORE", DEADLINES, "-inf", NOW, "LIMIT", 0, 100)) do
        -- An earlier one of this round may have ended it: one run can have two deadlines.
        if call("ZSCORE", DEADLINES, member) then
            expire(string.match(member, "^(%a+)%z(.*)$"))
        end
    end
    local machines = freed
    freed = nil
    grant_heads(machines)
end

-- A run as its step sees it, behind *word*: {word, run JSON, now, {machine, place, {kind, holder JSON, ...}, {task ahead, ...}}, ...}.
local function view(word, run)
    local answer = { word, cjson.encode(run), NOW }
    for _, machine in ipairs(run.machines or {}) do
        local m, place, ahead, holders = lower(machine), 0, {}, {}
        local from, to = span(m)
        if run.state == "waiting" then
            local own = "[" .. line_member(run, machine)
            place = call("ZLEXCOUNT", LINES, from, own)
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, own, "LIMIT", 0, math.min(place - 1, MOST_AHEAD))) do
                ahead[#ahead + 1] = string.sub(member, #m + 29)
            end
        end
        for _, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to)) do
            local kind, task = string.match(string.sub(member, #m + 2), "^(%a+)%z(.*)$")
            if task ~= run.id then
                holders[#holders + 1] = kind
                holders[#holders + 1] = kind == "reservation" and call("HGET", RESERVATIONS, m)
                    or call("HGET", RUNS, lower(task))
            end
        end
        answer[#answer + 1] = { machine, call("HGET", MACHINES, m) or "{}", place, holders, ahead }
    end
    return answer
end
