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
-- KEYS[6]   counters      hash    order, token, family, stamp, served_at, outage_at, opened_at, closed_at, event_at
-- KEYS[7]   machines      hash    machine -> {id, name}, JSON
-- KEYS[8]   events        zset    event id -> ms it was first seen
-- KEYS[9]   aliases       hash    deployment or runbook run id (lower-case) -> task id
-- KEYS[10]  unresolved    zset    task id -> ms; observed runs whose machines are not known yet
-- KEYS[11]  ended         zset    task id (lower-case) -> ms it ended; what retention reads
-- KEYS[12]  timeline      stream  every change
-- KEYS[13]  index         prefix  of the record ids by run: (lists), machine: and project: (streams), and the id
-- KEYS[14]  wake          prefix  of the wake list of a run
-- KEYS[15]  wakes         channel the task id of a run that waits no longer
-- KEYS[16]  blocking      set     task id of each waiter whose step blocks a task slot of Octopus (rule 12)
-- KEYS[17]  children      zset    family NUL task id of each waiter that shares a lease (rule 10)
-- KEYS[18]  resumes       zset    task id -> ms to try; parked runs whose intervention is to be answered (rule 11)
-- KEYS[19]  batches       zset    batch id NUL its events NUL number of this one -> ms it came
-- ARGV[1]   what the clock is ahead of the server's, ms; 0 but in tests

local RUNS, LINES, HOLDERS, DEADLINES, RESERVATIONS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local COUNTERS, MACHINES, EVENTS, ALIASES, UNRESOLVED = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local ENDED, TIMELINE, INDEX, WAKE, WAKES = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]
local BLOCKING, CHILDREN, RESUMES, BATCHES = KEYS[16], KEYS[17], KEYS[18], KEYS[19]

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

-- Runs among which a circle of waits is looked for.
local MOST_SEARCHED = 10000

-- Without a sweep of somebody who serves waiters for this long, octowait was away.
local OUTAGE_MS = 10000

local function load_run(task)
    local raw = call("HGET", RUNS, lower(task))
    return raw and cjson.decode(raw)
end

-- The version tells somebody who decided on what he saw a while ago that it has changed since.
local function save_run(run)
    run.v = (run.v or 0) + 1
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
    call("ZREM", DEADLINES, "life\0" .. run.id, "timeout\0" .. run.id, "hold\0" .. run.id, "grace\0" .. run.id)
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

-- The runs that make a machine busy: {{kind, task id}, ...}.
local function busy_with(machine)
    local runs, from, to = {}, span(machine)
    for _, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to)) do
        local kind, task = string.match(string.sub(member, #machine + 2), "^(%a+)%z(.*)$")
        if kind ~= "reservation" then
            runs[#runs + 1] = { kind, task }
        end
    end
    return runs
end

-- Rule 10: whether the machine is busy with the run's family only. A reservation lets running work go on, and what a
-- child does is its parent's running work.
local function is_shared(run, machine)
    local runs = run.family and busy_with(machine) or {}
    for _, other in ipairs(runs) do
        if load_run(other[2]).family ~= run.family then
            return false
        end
    end
    return #runs > 0
end

-- Rule 15: nobody is granted before it is known who runs where.
local IS_OPEN = true

local function may_start(run)
    for _, machine in ipairs(run.machines) do
        local m = lower(machine)
        if not (head(m) == run.id and is_free(m)) and not is_shared(run, m) then
            return false
        end
    end
    return IS_OPEN
end

local function child_member(run)
    return string.format("%016d", run.family) .. "\0" .. run.id
end

-- Out of its lines and of all that is kept about waiters.
local function stop_waiting(run)
    for _, machine in ipairs(run.machines) do
        call("ZREM", LINES, line_member(run, machine))
    end
    call("SREM", BLOCKING, run.id)
    if run.family then
        call("ZREM", CHILDREN, child_member(run))
    end
    forget_deadlines(run)
    run.order = nil
end

local function waiting_children(family)
    local children = {}
    for _, member in ipairs(call("ZRANGEBYLEX", CHILDREN, span(string.format("%016d", family)))) do
        children[#children + 1] = string.sub(member, 18)
    end
    return children
end

-- Whom a run waits for, as {to, machine, how = holder|ahead|child}. A holder waits for the children that it started.
local function waits_for(run)
    local edges = {}
    for _, machine in ipairs(run.state == "waiting" and run.machines or {}) do
        local m = lower(machine)
        local from = span(m)
        if not is_shared(run, m) then
            for _, other in ipairs(busy_with(m)) do
                edges[#edges + 1] = { to = other[2], machine = machine, how = "holder" }
            end
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, "(" .. line_member(run, machine))) do
                edges[#edges + 1] = { to = string.sub(member, #m + 29), machine = machine, how = "ahead" }
            end
        end
    end
    for _, child in ipairs(run.state ~= "waiting" and run.family and waiting_children(run.family) or {}) do
        edges[#edges + 1] = { to = child, how = "child" }
    end
    return edges
end

-- Rule 10: the circle in which the run waits for itself, as edges {from, to, machine, how}, or nil. Only a family closes
-- one, for all others take all or none; so it costs nothing while no child waits.
local function circle_of(run)
    local came_by, queue, at = {}, { run }, 1
    if call("ZCARD", CHILDREN) == 0 then
        return nil
    end
    while queue[at] and #queue < MOST_SEARCHED do
        for _, edge in ipairs(waits_for(queue[at])) do
            edge.from = queue[at].id
            if edge.to == run.id then
                local circle = { edge }
                while circle[1].from ~= run.id do
                    table.insert(circle, 1, came_by[circle[1].from])
                end
                return circle
            end
            if not came_by[edge.to] then
                came_by[edge.to] = edge
                queue[#queue + 1] = load_run(edge.to)
            end
        end
        at = at + 1
    end
    return nil
end

-- The run whose step is asking now: it hears the answer, so nobody has to tell it through Octopus.
local asking

-- Rule 11: a parked run has left; what became of it is told through the intervention that it is paused for.
local function tell_parked(run)
    if run.parked and lower(run.id) ~= asking then
        call("ZADD", RESUMES, NOW, run.id)
    end
end

local function grant(run)
    stop_waiting(run)
    for _, machine in ipairs(run.machines) do
        call("ZADD", HOLDERS, 0, holder_member("lease", run, machine))
    end
    run.state, run.collected = "granted", false
    run.token = call("HINCRBY", COUNTERS, "token", 1)
    run.granted_at_ms = NOW
    if not run.parked then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    end
    if run.max_hold_ms then
        call("ZADD", DEADLINES, NOW + run.max_hold_ms, "hold\0" .. run.id)
    end
    save_run(run)
    record("granted", run, run.machines, nil, {
        token = run.token, waited_ms = NOW - run.requested_at_ms, family = run.family,
    })
    wake(run)
    tell_parked(run)
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

-- Ends of a parked run that its Octopus task does not know of yet: it is still paused for its intervention.
local UNTOLD = { timeout = true, forced = true, task_cap = true, circle = true, max_hold = true }

-- End what the run waits for or holds, whatever that is, and let the next ones start.
local function finish(run, state, cause, detail)
    local was, machines = run.state, run.machines or {}
    local is_untold = was == "waiting" or call("ZSCORE", RESUMES, run.id)
    call("ZREM", RESUMES, run.id)
    if was == "waiting" then
        stop_waiting(run)
    else
        for _, machine in ipairs(machines) do
            call("ZREM", HOLDERS, holder_member("lease", run, machine), holder_member("observed", run, machine))
        end
        forget_deadlines(run)
    end
    call("ZREM", UNRESOLVED, run.id)
    call("ZADD", ENDED, NOW, lower(run.id))
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
    if was == "waiting" then
        wake(run)
    end
    grant_heads(machines)
end

local function refuse_circle(run, circle)
    finish(run, "refused", "circle", { refusal = { circle = circle } })
end

-- A child that waited may share what its family turned out to hold, or turns out to wait for itself.
local function review_children(run)
    for _, task in ipairs(run.family and waiting_children(run.family) or {}) do
        local child = load_run(task)
        local circle = circle_of(child)
        if may_start(child) then
            grant(child)
        elseif circle then
            refuse_circle(child, circle)
        end
    end
end

-- Rule 8: nobody asked for these machines, so somebody may be there already; then say so.
local function observe(run, cause)
    local others = {}
    for _, machine in ipairs(run.machines or {}) do
        register_machine(machine)
        for _, other in ipairs(busy_with(lower(machine))) do
            local task = other[2]
            if task ~= run.id and not (run.family and load_run(task).family == run.family) then
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
    review_children(run)
end

-- Rule 11: the intervention of a parked run has been answered. Where somebody did that before its turn, it runs all the same.
local function answered(run, cause, detail)
    local is_early = run.state == "waiting" and detail.result == "Proceed"
    call("ZREM", RESUMES, run.id)
    if is_early then
        stop_waiting(run)
    end
    record(detail.result and "resumed" or "not_resumed", run, run.machines, cause, detail)
    if is_early then
        observe(run, "by_hand")
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
    elseif what == "grace" then
        finish(run, run.state == "granted" and "released" or "ended", "abandoned")
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
            if not IS_OPEN then
                holders = { "rebuilding", cjson.encode({ since_ms = tonumber(call("HGET", COUNTERS, "closed_at")) }) }
            end
        end
        -- What its family holds it has to wait for no longer (rule 10).
        local is_own = run.state == "waiting" and is_shared(run, m)
        if is_own then
            place, ahead = 0, {}
        end
        for _, member in ipairs(is_own and {} or call("ZRANGEBYLEX", HOLDERS, from, to)) do
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
