-- lib/grants.lua: grants: leases for the waiters that may start.
--
-- needs: clock, keys, changes, bulk, runs, lines, work

-- Task id (lower-case) of the run whose step asks in this script, and hears of its grant in the answer.
local asking_task

-- Whether the step of a run hears of what becomes of it in the answer to this script.
local function hears(run)
    return lower(run.id) == asking_task and not run.rebuilt and not is_uncopied(run)
end

-- Have the grant of a run taken back whose step does not confirm it in time. That of a parked run is over, unless it
-- asks now.
local function expect_collection(run)
    if not run.collected and (not run.parked or (run.claim and hears(run))) then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    end
end

-- Set where deadlines have passed that this script does not handle: ends a waiter whose own has, and says so.
local is_over_by_now

-- Rule 11: have a worker answer the intervention of a parked run, whose step is over and hears nothing.
local function queue_resume(run)
    if run.parked and not hears(run) then
        call("ZADD", RESUMES, NOW, run.id)
    end
end

-- Units that it takes to grant a run besides what it takes at each of its machines.
local GRANT = 5

-- *is_at_once*: it has never waited, and is in nothing that is about waiters.
local function grant(run, is_at_once)
    local order = run.order
    spend(GRANT)
    if is_at_once then
        spend(MOVE * #run.machines)
    else
        stop_waiting(run)
    end
    run.order = order
    hold("lease", run, run.machines)
    local family = family_in(run) or ALONE
    for _, machine in ipairs(lower_ids(run.machines)) do
        families_at[machine] = family
    end
    run.state, run.collected, run.told, run.copied = "granted", false, nil, nil
    -- Fencing tokens grow with every grant, also across a loss of all that was counted.
    run.token = math.max(TOKEN + 1, NOW)
    TOKEN = run.token
    write_counters("token", string.format("%.0f", run.token))
    note_change()
    run.granted_at_ms, run.granted_change = NOW, NUMBER
    expect_collection(run)
    if run.max_hold_ms then
        call("ZADD", DEADLINES, NOW + run.max_hold_ms, "hold\0" .. run.id)
    end
    save_run(run)
    record("granted", run, run.machines, nil, {
        token = run.token, waited_ms = math.max(0, NOW - run.requested_at_ms), family = run.family,
    })
    if not is_at_once or is_uncopied(run) then
        -- Of one that never waited nobody sleeps, and whoever asked for it has it in his answer.
        wake(run)
    end
    queue_resume(run)
    if run.family then
        -- Its children, and those of the run that started it, share what it has got.
        put("children", run.family)
    end
    if run.is_parent then
        -- It works now, and waits for children that may wait behind those who wait for it.
        put("circles", run.family)
    end
end

-- Grant a run that may start; whether it did. A place of nobody, or of a run that waits no longer, starts nothing and breaks
-- nothing off: who stands behind it waits until an audit has taken it away.
local function start(run)
    if not run or run.state ~= "waiting" or not may_start(run) or (is_over_by_now and is_over_by_now(run)) then
        return false
    end
    grant(run)
    return true
end

-- Put the families that hold a machine on the agenda; none while no child waits.
local function look_at_families(machine)
    if call("ZCARD", CHILDREN) == 0 then
        return
    end
    local tasks = tasks_at(machine)
    spend(LOOK * #tasks)
    read_families(tasks)
    for _, task in ipairs(tasks) do
        if family_named(task) then
            put("children", family_named(task))
        end
    end
end

-- Runs that were first in a line and may not start, since something changed last.
local seen = {}

-- Note that a waiter was delayed since *since*, if it still waits, by machines that were presumed busy (lib/plans.lua).
local function note_delay(task, since)
    local waiter = load_run(task)
    if waiter and waiter.state == "waiting" then
        spend(3)
        waiter.delayed_ms = (waiter.delayed_ms or 0) + math.max(0, NOW - math.max(since, waiter.requested_at_ms))
        call("HSET", DELAYS, task, string.format("%.0f %.0f", waiter.delayed_ms, waiter.requested_at_ms))
        save_run(waiter)
    end
end

-- To decode a run takes longer than to look at a machine.
local function spend_decoding(run)
    spend(3 + #(run and run.machines or {}) / 15)
end

-- Start who is first in a line, if anybody is and may; false where that is to be left to who does nothing else.
local function start_first(task)
    local run = task and not seen[task] and load_run(task)
    if run and is_too_wide(run) then
        spend(limit)
        return false
    elseif run then
        seen[task] = true
        spend_decoding(run)
        start(run)
    end
    return true
end

-- Nobody is granted while the board is closed, and all lines are looked at when it opens.
doing.head = function(id)
    local machine, since, delayed = string.match(id, "^(.-)%z(%d+)%z(.*)$")
    machine = machine or id
    spend(1)
    if not delayed and families_at[machine] == ALONE then
        return
    end
    if not start_first(IS_OPEN and head(machine)) then
        put("head", id)
        return
    end
    if delayed then
        note_delay(delayed, tonumber(since))
    end
    if IS_OPEN then
        look_at_families(machine)
    end
end

-- The first of all these lines are read at once. Whoever changes one of them meanwhile looks at it himself: one that ends has
-- its machines looked at, and one that is granted makes them busy. So nobody is looked at again in the next script, either.
doing.heads = function(id)
    local since, passed, list = string.match(id, "^(%d*)%z([^%z]*)%z(.*)$")
    local entries, machines, delayed = {}, {}, {}
    for entry in string.gmatch(list, "[^,]+") do
        local at = #entries + 1
        entries[at], machines[at], delayed[at] = entry, string.match(entry, "^([^%z]+)%z?(.*)$")
    end
    local firsts = IS_OPEN and heads_of(machines) or {}
    spend(#machines / 4)
    for at = 1, #entries do
        local task = families_at[machines[at]] ~= ALONE and firsts[at]
        if (at > 1 and is_enough()) or not (task == passed or start_first(task)) then
            put("heads", since .. "\0" .. passed .. "\0" .. table.concat(entries, ",", at))
            return
        end
        passed = task or passed
        if delayed[at] ~= "" then
            note_delay(delayed[at], tonumber(since))
        end
    end
end

doing.lines = function(after)
    while IS_OPEN do
        if is_enough() then
            put("lines", after)
            return
        end
        local from = after == "" and "-" or "[" .. after .. "\1"
        local member = call("ZRANGEBYLEX", LINES, from, "+", "LIMIT", 0, 1)[1]
        if not member then
            return
        end
        after = string.match(member, "^(.-)%z")
        doing.head(after)
    end
end

-- Rule 10: grant the waiting children of a family: a child need not be first where the family holds, and siblings share
-- each other's grants.
doing.children = function(id)
    local family, after = string.match(id, "^(%d+)%z?(.*)$")
    for _, task in ipairs(IS_OPEN and waiting_children(tonumber(family)) or {}) do
        if task > after then
            if is_enough() then
                put("children", family .. "\0" .. after)
                return
            end
            local run = load_run(task)
            if run and is_too_wide(run) then
                put("children", family .. "\0" .. after)
                spend(limit)
                return
            end
            spend_decoding(run)
            start(run)
            after = task
        end
    end
end

doing.families = function(after)
    while IS_OPEN do
        if is_enough() then
            put("families", after)
            return
        end
        local from = after == "" and "-" or "(" .. after .. "\1"
        local member = call("ZRANGEBYLEX", CHILDREN, from, "+", "LIMIT", 0, 1)[1]
        if not member then
            return
        end
        after = string.sub(member, 1, 16)
        doing.children(string.format("%.0f", tonumber(after)))
    end
end

-- Those of *ids* (lower-case, from *from* to *last*) at which somebody waits, where that are few; else all.
local function where_some_wait(ids, from, last)
    local firsts = are_in_order(ids) and firsts_at(LINES, ids, from, last, FEW)
    if not firsts then
        return { unpack(ids, from, last) }
    end
    local machines = {}
    for at = from, next(firsts) and last or 0 do
        if firsts[ids[at]] then
            machines[#machines + 1] = ids[at]
        end
    end
    return machines
end

-- Put the heads of many lines on the agenda, some hundred at a time: one by one they are as long to write as to look at.
local function put_heads(ids, since, heads)
    local listed = {}
    for from = 1, #ids, BULK do
        local last, entries = math.min(from + BULK - 1, #ids), nil
        if since then
            entries = {}
            for at = from, last do
                local task = heads[at]
                if task and not listed[task] then
                    listed[task] = true
                    entries[#entries + 1] = ids[at] .. "\0" .. task
                end
            end
        else
            entries = where_some_wait(ids, from, last)
        end
        if #entries > 0 then
            put("heads", (since and string.format("%.0f", since) or "") .. "\0\0" .. table.concat(entries, ","))
        end
    end
end

-- Look at the heads of the lines of *machines*. One look is enough: a grant makes machines busy, so that nobody becomes
-- ready by it but its family. *since*: from when on they were presumed busy, ms, where that counts: each head that stays
-- one was delayed once, at however many of them it is the next one.
local function grant_heads(machines, since)
    seen = {}
    local ids, listed = lower_ids(machines), {}
    local heads = since and heads_of(machines) or {}
    local children = #ids > FEW and call("ZCARD", CHILDREN) or 0
    if #ids > BULK or (#ids > FEW and children <= #ids) then
        -- Families that hold a machine are looked at as well: of many machines all that there are, each once, unless they have
        -- more waiting children than that.
        if children > 0 then
            put("families", "")
        end
        put_heads(ids, since, heads)
        work_off(SLICE)
        return
    end
    local delayed = since and "\0" .. string.format("%.0f", since) .. "\0"
    for at, machine in ipairs(ids) do
        local task = heads[at] or nil
        if task and not listed[task] then
            listed[task] = true
            put("head", machine .. delayed .. task)
        else
            put("head", machine)
        end
    end
    work_off(SLICE)
end

-- Look at the waiting children of a family, if it is one, which may share more now.
local function grant_children(family)
    if family then
        put("children", family)
    end
    work_off(SLICE)
end
