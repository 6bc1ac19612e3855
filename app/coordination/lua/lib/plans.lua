-- lib/plans.lua: the machines that a run is presumed to use until it is known (rule 19), and who is expected to ask.
--
-- needs: clock, keys, runs, lines

-- A process that has not run for so long is forgotten: 90 days.
local PLAN_TTL_MS = 7776000000

-- Where a process runs: what ran there last tells which machines the next run uses. Nil where that is not known.
local function scope_of(info)
    local project, environment = id_of(info, "project"), id_of(info, "environment")
    if not project or not environment then
        return nil
    end
    local what = info.runbook_run_id and "runbook" or "deployment"
    local parts = { info.space_id or "", project, environment, id_of(info, "tenant") or "", what }
    return PLAN .. lower(table.concat(parts, "\0"))
end

-- What is remembered of the last runs there: {machines = "Machines-7,Machines-8", at_ms = since when so}, or nil.
local function recall_plan(info)
    local scope = scope_of(info)
    local raw = scope and call("GET", scope)
    return raw and cjson.decode(raw)
end

-- Only what Octopus says of a full deployment takes machines out of the memory. All else widens it: a claim or a run with
-- chosen machines may name fewer than there are, and two runbooks of one project are remembered together.
local function learn_plan(run, machines, is_full)
    if not scope_of(run.info) then
        return
    end
    local plan = recall_plan(run.info) or { machines = "", at_ms = 0 }
    local known, all = {}, {}
    local function add(machine)
        if not known[lower(machine)] then
            known[lower(machine)] = true
            all[#all + 1] = machine
        end
    end
    if not is_full or run.info.runbook_run_id then
        for machine in string.gmatch(plan.machines, "[^,]+") do
            add(machine)
        end
    end
    for _, machine in ipairs(machines) do
        add(machine)
    end
    local names = table.concat(all, ",")
    -- Written anew only now and then where nothing is new: most runs are like the one before.
    if names ~= plan.machines or NOW - plan.at_ms > PLAN_TTL_MS / 90 then
        call("SET", scope_of(run.info), cjson.encode({ machines = names, at_ms = NOW }), "PX", PLAN_TTL_MS)
    end
end

-- Where it is remembered whether the runs of a project come with a step or a gate of ours.
local function asking_key(info)
    local project = id_of(info, "project")
    local what = info.runbook_run_id and "runbook" or "deployment"
    return project and PLAN .. lower(table.concat({ info.space_id or "", project, what, "asks" }, "\0"))
end

local function learn_asks(run, asks)
    local key = asking_key(run.info)
    if key then
        call("SET", key, asks and 1 or 0, "PX", PLAN_TTL_MS)
    end
end

-- Whether a run of the process may be about to ask: the last one of its project did, or there was none.
local function may_ask(info)
    local key = asking_key(info)
    return key and call("GET", key) ~= "0"
end

-- It is about to ask, so that it meets others is no overlap yet.
local function is_expected(run)
    return run.expected_until_ms ~= nil and NOW < run.expected_until_ms
end

local function expect_step(run, until_ms)
    if NOW < until_ms then
        run.expected_until_ms = until_ms
        call("ZADD", DEADLINES, until_ms, "expect\0" .. run.id)
    end
end

-- Without an API key nobody tells the truth about a start, so one head of a line is delayed at most twice *hold_ms* by
-- such holds in all. How long its machine may be presumed busy now, ms.
local function patience_at(machine, hold_ms)
    local task = head(machine)
    if not task then
        return hold_ms
    end
    local waiter, spent = load_run(task), 0
    for _, other in ipairs(busy_with(machine)) do
        if other[1] == "provisional" then
            spent = math.max(spent, NOW - math.max(load_run(other[2]).provisional_at_ms, waiter.requested_at_ms))
        end
    end
    return math.min(hold_ms, 2 * hold_ms - (waiter.delayed_ms or 0) - spent)
end

-- Make *machines* busy, beside those that are, with a run of which nobody knows yet which it uses. *hold_ms*: how long;
-- nil where an API key is set, since then only the truth or its end ends the hold. Whether that made any busy.
local function presume(run, machines, cause, hold_ms)
    local presumed, known, is_new = {}, {}, false
    for _, machine in ipairs(run.presumed or {}) do
        presumed[#presumed + 1] = machine
        known[lower(machine)] = true
    end
    for _, machine in ipairs(machines) do
        local patience = hold_ms and patience_at(lower(machine), hold_ms) or 1
        if patience > 0 and not known[lower(machine)] then
            known[lower(machine)], is_new = true, true
            presumed[#presumed + 1] = machine
            hold_ms = hold_ms and math.min(hold_ms, patience)
            register_machine(machine)
            call("ZADD", HOLDERS, 0, holder_member("provisional", run, machine))
        end
    end
    if not is_new then
        return false
    end
    if hold_ms then
        call("ZADD", DEADLINES, NOW + hold_ms, "provisional\0" .. run.id)
    end
    run.presumed, run.provisional_at_ms = presumed, run.provisional_at_ms or NOW
    save_run(run)
    record("presumed", run, presumed, cause, nil)
    return true
end

-- Take back what was presumed: the machines, of which grant_heads is to be told. The caller saves the run.
local function stop_presuming(run)
    local machines = run.presumed or {}
    for _, machine in ipairs(machines) do
        call("ZREM", HOLDERS, holder_member("provisional", run, machine))
        local task = not run.has_key and head(lower(machine))
        if task then
            local waiter = load_run(task)
            local from = math.max(run.provisional_at_ms, waiter.requested_at_ms)
            waiter.delayed_ms = (waiter.delayed_ms or 0) + NOW - from
            save_run(waiter)
        end
    end
    call("ZREM", DEADLINES, "provisional\0" .. run.id)
    run.presumed, run.provisional_at_ms = nil, nil
    return machines
end

-- A start was told, and the machines are to be found out: until then those are busy that its process used last.
local function presume_last(run)
    local plan, machines = recall_plan(run.info), {}
    for machine in string.gmatch(plan and plan.machines or "", "[^,]+") do
        machines[#machines + 1] = machine
    end
    presume(run, machines, "last_run", run.hold_ms)
end

-- Waits that are over while the task may work on: its step went on without, or nobody has heard of it.
local WENT_ON = { expired = true, left = true, timed_out = true, refused = true }

-- Whether a run whose wait is over may be at work all the same. A parked one whose intervention is to be answered is not:
-- its task is paused for that.
local function may_work_on(run)
    return WENT_ON[run.state] and not run.end_seen and run.cause ~= "forced" and not run.is_aborted and not run.gave_back
        and not call("ZSCORE", RESUMES, run.id)
end

-- Have a worker find out whether it works on, and on what; in doubt its machines are busy.
local function linger(run)
    call("ZREM", ENDED, lower(run.id))
    call("ZADD", UNRESOLVED, NOW, run.id)
    if not run.lingers then
        run.lingers = true
        presume(run, run.machines or {}, "went_on", run.hold_ms)
        if not run.has_key and not run.presumed then
            -- Nobody can find out, and all patience is spent.
            run.lingers = nil
            call("ZREM", UNRESOLVED, run.id)
            call("ZADD", ENDED, NOW, lower(run.id))
        end
        save_run(run)
    end
end
