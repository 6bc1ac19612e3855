-- lib/plans.lua: provisional holds: the machines that a run is presumed to use until they are known (rule 19); and runs
-- that are expected to ask, since their process has a step of octowait.
--
-- needs: clock, keys, bulk, runs, lines, work

-- Lifetime of the memory of a process that does not run, ms: 90 days.
local PLAN_TTL_MS = 7776000000

-- Machines that are remembered of a process at most, as many as one run may have: all of them are busy when it starts.
local MAX_PLAN = 10000

-- Key of the memory of a process, by space, project, environment, tenant and kind; nil without project or environment.
local function scope_of(info)
    local project, environment = id_of(info, "project"), id_of(info, "environment")
    if not project or not environment then
        return nil
    end
    local what = info.runbook_run_id and "runbook" or "deployment"
    local parts = { info.space_id or "", project, environment, id_of(info, "tenant") or "", what }
    return PLAN .. lower(table.concat(parts, "\0"))
end

-- Machines that the last runs of a process used, in the order of their ids: so many are looked at together (lib/bulk.lua).
-- Empty where nobody remembers. One by one they are fields of a hash, so that a run with few of 10,000 machines costs few;
-- before they were one text, which is read as well.
local function recall_plan(info)
    local scope = scope_of(info)
    if not scope then
        return {}
    end
    if call("TYPE", scope).ok ~= "string" then
        return in_order(unless_foreign(scope, redis.pcall("HVALS", scope)) or {})
    end
    local machines = {}
    for machine in string.gmatch(cjson.decode(call("GET", scope)).machines, "[^,]+") do
        machines[#machines + 1] = machine
    end
    return in_order(machines)
end

local function write_plan(scope, machines)
    local fields = {}
    for at, machine in ipairs(lower_ids(machines)) do
        fields[2 * at - 1], fields[2 * at] = machine, machines[at]
    end
    in_bulk("HSET", scope, fields)
end

-- Whether a memory has all of a few machines (lower-case ids), and need not be written to live on.
local function is_remembered(scope, ids)
    local names = #ids <= FEW and redis.pcall("HMGET", scope, unpack(ids))
    if not names or names.err then
        return false
    end
    for at = 1, #ids do
        if not names[at] then
            return false
        end
    end
    return call("PTTL", scope) >= PLAN_TTL_MS - PLAN_TTL_MS / 90
end

-- Remember the machines of a run. Only a full deployment as Octopus lists it takes machines out of the memory, others add
-- to it: a claim or a run with chosen machines may name fewer than there are, and the runbooks of a project share one.
local function learn_plan(run, machines, is_full)
    local scope = scope_of(run.info)
    if not scope or (not is_full and is_remembered(scope, lower_ids(machines))) then
        -- Most runs use the machines of the run before.
        return
    end
    local kind = call("TYPE", scope).ok
    if kind ~= "hash" and kind ~= "string" and kind ~= "none" then
        call("HSET", COUNTERS, "foreign_key", scope)
        return
    end
    if kind == "string" then
        local before = recall_plan(run.info)
        call("DEL", scope)
        write_plan(scope, before)
    end
    local new, all, count, ids = {}, {}, 0, lower_ids(machines)
    for at, known in ipairs(values_of(scope, ids)) do
        if not all[ids[at]] then
            all[ids[at]], count = true, count + 1
            if not known then
                new[#new + 1] = machines[at]
            end
        end
    end
    if is_full and not run.info.runbook_run_id and call("HLEN", scope) > count - #new then
        local old = {}
        for _, machine in ipairs(call("HKEYS", scope)) do
            if not all[machine] then
                old[#old + 1] = machine
            end
        end
        in_bulk("HDEL", scope, old)
    end
    -- What is remembered stays where there is no room for more: nobody who names machines that there are not may have
    -- those forgotten that a process uses.
    for at = #new, math.max(0, MAX_PLAN - call("HLEN", scope)) + 1, -1 do
        new[at] = nil
    end
    write_plan(scope, new)
    if #new > 0 or call("PTTL", scope) < PLAN_TTL_MS - PLAN_TTL_MS / 90 then
        call("PEXPIRE", scope, PLAN_TTL_MS)
    end
end

-- Key of the memory whether the runs of a project have a step or a gate of octowait; nil where *info* has no project.
local function step_key(info)
    local project = id_of(info, "project")
    local what = info.runbook_run_id and "runbook" or "deployment"
    return project and PLAN .. lower(table.concat({ info.space_id or "", project, what, "asks" }, "\0"))
end

local function remember_step(run, has_step)
    local key = step_key(run.info)
    -- Where it is forgotten that there is one, it is as if it were remembered: that need not be written to live on.
    if key and not (has_step and redis.pcall("GET", key) == "1") then
        call("SET", key, has_step and 1 or 0, "PX", PLAN_TTL_MS)
    end
end

-- Whether a run may be about to ask: the last run of its project had a step of octowait, or there was none.
local function may_have_step(info)
    local key = step_key(info)
    return key and unless_foreign(key, redis.pcall("GET", key)) ~= "0"
end

-- Whether a run is about to ask: until then other runs on its machines are no overlap.
local function is_expected(run)
    return run.expected_until_ms ~= nil and NOW < run.expected_until_ms
end

local function expect_step(run, until_ms)
    if NOW < until_ms then
        run.expected_until_ms = until_ms
        call("ZADD", DEADLINES, until_ms, "expect\0" .. run.id)
    end
end

-- Waiter -> {for how long it was delayed, ms, when it asked to wait}, of those of *heads* that were.
local function delays_of(heads)
    local tasks, delays = {}, {}
    for at = 1, call("HLEN", DELAYS) > 0 and #heads or 0 do
        local task = heads[at]
        if task and delays[task] == nil then
            delays[task] = false
            tasks[#tasks + 1] = task
        end
    end
    for at, text in ipairs(values_of(DELAYS, tasks)) do
        local ms, asked_at = string.match(text or "", "^(%d+) (%d+)$")
        delays[tasks[at]] = ms and { tonumber(ms), tonumber(asked_at) } or false
    end
    return delays
end

-- Waiters that no delay was noted of whose records are read at most, for when they asked to wait.
local MAX_WAITERS_READ = 1000

-- A function of a waiter: when it asked to wait, ms; nil of one that waits no longer, since a place can be nobody's
-- (lib/grants.lua), or where too many were read.
local function reader_of_waits()
    local left, times = MAX_WAITERS_READ, {}
    return function(task)
        if times[task] == nil and left > 0 then
            left = left - 1
            spend(1)
            local entry = records_of({ task })[1]
            local state = entry and (entry.state or text_in(entry, "state", '"(%a+)"'))
            times[task] = state == "waiting" and number_in(entry, "requested_at_ms") or false
        end
        return times[task] or nil
    end
end

-- Holders that are looked at for how long others were delayed, some 10 ms, and of one machine. Where there are more, those
-- count once they have ended: until then their machines are busy for longer.
local MAX_DELAYERS, MAX_DELAYERS_AT = 10000, 20

-- A function of a machine, by its place in *machines*: since when it is presumed busy, ms, or nil.
local function presumed_since(machines)
    local ids, left, began = lower_ids(machines), MAX_DELAYERS, {}
    local read = reader_of(HOLDERS, ids)
    local function holders_at(at)
        local at_machine, from, to = {}, span(ids[at])
        for number, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to, "LIMIT", 0, MAX_DELAYERS_AT)) do
            at_machine[number] = string.sub(member, #ids[at] + 2)
        end
        return at_machine
    end
    local function first_of(holders)
        local since
        for _, holder in ipairs(holders) do
            local task = string.match(holder, "^provisional%z(.*)$")
            if task and began[task] == nil then
                local entry = records_of({ task })[1]
                began[task] = entry and number_in(entry, "provisional_at_ms") or false
            end
            since = task and began[task] and math.min(since or NOW, began[task]) or since
        end
        return since
    end
    local last, since
    return function(at)
        if left <= 0 then
            return nil
        end
        local holders = read(at)
        if not holders or holders ~= last then
            last, holders = holders, holders or holders_at(at)
            left = left - 1 - #holders
            since = first_of(holders)
        end
        return since
    end
end

-- How long each of *machines* may be presumed busy from now, ms. Without an API key nobody finds out which machines a
-- started run uses, so provisional holds delay the head of a line by twice *hold_ms* at most, all together.
local function holds_left(machines, hold_ms)
    local heads, since_at, left = heads_of(machines), presumed_since(machines), {}
    local delays, asked_at = delays_of(heads), reader_of_waits()
    for at = 1, #machines do
        local task, spent = heads[at], 0
        left[at] = hold_ms
        local since = task and since_at(at)
        local delay = task and delays[task]
        local delayed = delay and delay[1] or 0
        -- It has delayed nobody for longer than it lasts: most of the time that is enough to know.
        if since and delayed + NOW - since > hold_ms then
            spent = math.max(0, NOW - math.max(since, delay and delay[2] or asked_at(task) or NOW))
        end
        if task then
            left[at] = math.min(hold_ms, 2 * hold_ms - delayed - spent)
        end
    end
    return left
end

-- Add *machines* to the provisional hold of a run; whether any was new. *hold_ms*: for how long; nil where an API key is
-- set, since the hold then ends when the machines are known or the run ends.
local function presume(run, machines, cause, hold_ms)
    local presumed, known, new = {}, {}, {}
    for _, machine in ipairs(run.presumed or {}) do
        presumed[#presumed + 1] = machine
        known[lower(machine)] = true
    end
    spend(#machines)
    local left = hold_ms and holds_left(machines, hold_ms)
    for at, id in ipairs(lower_ids(machines)) do
        if not known[id] and (not left or left[at] > 0) then
            known[id] = true
            presumed[#presumed + 1], new[#new + 1] = machines[at], machines[at]
            hold_ms = hold_ms and math.min(hold_ms, left[at])
        end
    end
    if #new == 0 then
        return false
    elseif #new == #machines and are_in_order(lower_ids(machines)) then
        -- One list for both: what is found out about one of many machines is found out about it.
        new, presumed = machines, run.presumed and presumed or machines
    end
    register_machines(new)
    hold("provisional", run, new)
    forget_families()
    if hold_ms then
        call("ZADD", DEADLINES, NOW + hold_ms, "provisional\0" .. run.id)
    end
    run.presumed, run.provisional_at_ms = in_order(presumed), run.provisional_at_ms or NOW
    save_run(run)
    record("presumed", run, presumed, cause, run.family and { family = run.family } or nil)
    return true
end

-- End the provisional hold of a run, and return its machines for grant_heads, and since when it has delayed who is next there,
-- where that counts. The caller saves the run, and takes out its deadline.
local function give_up_presumed(run)
    local machines, since = run.presumed or {}, not run.has_key and run.provisional_at_ms or nil
    if #machines > 0 then
        spend(MOVE * #machines)
        forget_families()
        let_go("provisional", run, machines)
    end
    run.presumed, run.provisional_at_ms = nil, nil
    return machines, since
end

-- The same, and take out its deadline.
local function stop_presuming(run)
    call("ZREM", DEADLINES, "provisional\0" .. run.id)
    return give_up_presumed(run)
end

-- Presume that a started run uses the machines of the last runs of its process.
local function presume_last(run)
    presume(run, recall_plan(run.info), "last_run", run.hold_ms)
end

-- States of runs whose wait is over while their task may work on without a lease.
local WAIT_OVER = { expired = true, left = true, timed_out = true, refused = true }

-- Whether a run whose wait is over may be at work. A parked run whose intervention is to be answered is not: its task is
-- paused.
local function may_work_on(run)
    return WAIT_OVER[run.state] and not run.end_seen and run.cause ~= "forced" and not run.is_aborted and not run.gave_back
        and not call("ZSCORE", RESUMES, run.id)
end

-- Have a worker find out whether a run works on, and on which machines; until then its machines are busy.
local function linger(run)
    call("ZREM", ENDED, lower(run.id))
    call("ZADD", UNRESOLVED, NOW, run.id)
    if not run.lingers then
        run.lingers = true
        presume(run, run.machines or {}, "went_on", run.hold_ms)
        if not run.has_key and not run.presumed then
            -- Nobody can find out, and waiters were delayed long enough.
            run.lingers = nil
            call("ZREM", UNRESOLVED, run.id)
            call("ZADD", ENDED, NOW, lower(run.id))
        end
        save_run(run)
    end
end
