-- lib/lines.lua: lines and holders of machines, signs of life, and whether a waiter may start.
--
-- needs: clock, keys, bulk, runs, work

local function forget_deadlines(run)
    local id = "\0" .. run.id
    call("ZREM", DEADLINES, "life" .. id, "timeout" .. id, "hold" .. id, "grace" .. id, "provisional" .. id, "expect" .. id)
end

-- Note that a run keeps its lease for as long as its task, for its step knows of it.
local function collect(run)
    if not run.collected then
        run.collected, run.in_doubt = true, nil
        call("ZREM", DEADLINES, "provisional\0" .. run.id, "life\0" .. run.id)
        save_run(run)
    end
end

-- Have a grant that nobody has collected live on.
local function keep_uncollected(run)
    if not run.collected then
        -- Where it has one: that of a parked run lives as long as its task.
        call("ZADD", DEADLINES, "XX", NOW + run.ttl_ms, "life\0" .. run.id)
    end
end

-- Note that the execution of a step, which has an id, hears of the grant of its run. It collects that by asking again
-- after it was told: what it sent before may be carried out when it has given up. That it was told is noted here, or it
-- says so itself, by the change that an answer "granted" told it (lib/polls.lua); *may_collect*: so it asks.
local function tell(run, may_collect)
    if may_collect then
        -- The step of a parked run goes on by itself, and an abandoned task is at work again.
        call("ZREM", RESUMES, run.id)
        call("ZREM", DEADLINES, "grace\0" .. run.id)
        collect(run)
        return
    end
    keep_uncollected(run)
    if not run.told then
        run.told = true
        save_run(run)
    end
end

-- Note a sign of life of a run's step. That of a parked run sends none: it waits as long as its task (rule 11).
-- *claim*: the id of the execution of the step, if it has one; *may_collect*: it asks after it was told.
local function show_life(run, claim, may_collect)
    if run.state == "waiting" and not run.parked then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    elseif is_uncopied(run) then
        keep_uncollected(run)
    elseif run.state == "granted" and claim then
        tell(run, may_collect)
    elseif run.state == "granted" and not run.parked then
        collect(run)
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

-- Whether nobody is ahead of a run in the line of a machine, in which it stands or not yet.
local function is_next(run, machine)
    local from = span(machine)
    return call("ZLEXCOUNT", LINES, from, "(" .. line_member(run, machine)) == 0
end

-- Members between the first and the last of some machines that are read, for each of these: of more each is asked for alone.
local MOST_EACH = 4

-- The first of the line of each machine, or false: {task, ...}.
local function heads_of(machines)
    local ids, heads = lower_ids(machines), {}
    local is_ordered = #ids > FEW and are_in_order(ids)
    for from = 1, #ids, BULK do
        local last = math.min(from + BULK - 1, #ids)
        local firsts = is_ordered and firsts_at(LINES, ids, from, last, MOST_EACH * BULK)
        for at = from, last do
            local first = firsts and firsts[ids[at]]
            heads[at] = first and string.sub(first, 28) or not firsts and head(ids[at]) or false
        end
    end
    return heads
end

-- What stands at a machine where nothing does.
local NONE = {}

-- A function of the place of a machine in *ids*, called with growing ones: all its members in a sorted set, without the
-- machine, in a list that those behind it may share (lib/bulk.lua); nil where it is to be asked for alone, since these are
-- few, or in no order, or have more than *each*, or MOST_EACH. *own*: what stands at all machines; only those ahead of that.
-- *note*: called with what is read of some hundred machines at once.
local function reader_of(key, ids, own, each, note)
    local is_ordered, members, last = #ids > FEW and are_in_order(ids), nil, 0
    return function(at)
        if is_ordered and at > last then
            local from = at
            last = math.min(from + BULK - 1, #ids)
            local most = (each or MOST_EACH) * (last - from + 1)
            members = (own and members_ahead or members_at)(key, ids, from, last, most, own)
            if note and members then
                note(members)
            end
        end
        return members and (members[ids[at]] or NONE) or nil
    end
end

-- The runs among those who make a machine busy, as `reader_of` has them: {{kind, task id}, ...}.
local function runs_in(members)
    local runs = {}
    for _, member in ipairs(members) do
        local kind, task = string.match(member, "^(%a+)%z(.*)$")
        if kind ~= "reservation" then
            runs[#runs + 1] = { kind, task }
        end
    end
    return runs
end

-- The runs that make a machine busy: {{kind, task id}, ...}; of the first *most* holders, or all.
local function busy_with(machine, most)
    local members, from, to = {}, span(machine)
    for at, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to, "LIMIT", 0, most or -1)) do
        members[at] = string.sub(member, #machine + 2)
    end
    return runs_in(members)
end

local RESERVATION = string.byte("reservation")

-- The task ids of all runs that make a machine busy. *members*: what `reader_of` has of them, or nil.
local function tasks_at(machine, members)
    local tasks, from, to = {}, span(machine)
    local first = members and 1 or #machine + 2
    for _, member in ipairs(members or call("ZRANGEBYLEX", HOLDERS, from, to)) do
        if string.byte(member, first) ~= RESERVATION then
            tasks[#tasks + 1] = string.sub(member, string.find(member, "\0", first, true) + 1)
        end
    end
    return tasks
end

-- Where a run without a family has been granted in this script: nobody shares with it, whoever is first in line.
local ALONE = "alone"

-- Machine -> the family that alone makes it busy, ALONE, or false; of those that this script has looked at since a holder
-- changed.
local families_at = {}

-- The run for which holders are looked at, and how many were.
local looked_for, looked_at

local function forget_families()
    -- And how many were looked at: a run that may start now would be passed over, and nobody looks for it again.
    families_at, looked_for = {}, nil
end

-- Whether nobody may share what a run holds: what a parent is that Octopus has not been asked about, only its token says, if
-- that has limits at all.
local function is_unproven(run)
    return run.unchecked and run.owner ~= "*" and not run.on_behalf_of
end

-- Holders that are looked at for one run at most, of its machines that its family makes busy, some 10 ms. Where there are
-- more it waits until some of its family have ended.
local MAX_SHARERS = 20000

-- Units that it takes to look at a holder.
local LOOK = 0.1

-- Task id -> the number of the family with which a run shares what it holds, or false; of those that are not decoded.
local family_of = {}

local function family_in(run)
    return run and not is_unproven(run) and run.family or false
end

-- Look at runs that nobody in this script has decoded.
local function read_families(tasks)
    local new
    for _, task in ipairs(tasks) do
        if family_of[task] == nil then
            -- Each once: some have very long records.
            family_of[task] = false
            new = new or {}
            new[#new + 1] = task
        end
    end
    -- The machines of a run often have the same holders.
    if not new then
        return
    end
    spend(#new)
    for at, entry in ipairs(records_of(new)) do
        local family = entry and number_in(entry, "family") or false
        if family and type(entry) == "string" and text_in(entry, "unchecked", "true") then
            load_run(new[at])
        end
        family_of[new[at]] = family
    end
end

-- The number of the family of a run that `read_families` has looked at, or nil; whether or not that shares what it holds.
local function family_named(task)
    local run = decoded[lower(task)]
    if run then
        return run.family
    end
    return family_of[task] or nil
end

local function family_by(task)
    local run = decoded[lower(task)]
    if run then
        return family_in(run)
    end
    return family_of[task]
end

-- The number of the family that alone makes a machine busy, or false. *members*: what `reader_of` has of who does, or nil.
local function family_at(machine, members)
    local tasks, first = members and tasks_at(machine, members), nil
    if tasks then
        first = tasks[1]
    else
        first = (busy_with(machine, 1)[1] or {})[2]
    end
    local family = first and family_in(load_run(first))
    if not family then
        return false
    end
    tasks = tasks or tasks_at(machine)
    looked_at = looked_at + #tasks
    spend_looks(LOOK * #tasks)
    read_families(tasks)
    for _, task in ipairs(tasks) do
        if family_by(task) ~= family then
            return false
        end
    end
    return family
end

-- Rule 10: whether the machine is busy with the run's family only. Reservations do not count: they let running work go
-- on, and the work of a child is running work of its parent.
local function is_shared(run, machine, members)
    if not run.family then
        return false
    end
    if looked_for ~= run.id then
        looked_for, looked_at = run.id, 0
    end
    if families_at[machine] == nil then
        if looked_at > MAX_SHARERS then
            return false
        end
        families_at[machine] = family_at(machine, members)
    end
    return families_at[machine] == run.family
end

-- Rule 15: false while the board is closed, since nobody is granted before it is known which run works where.
local IS_OPEN = true

-- Whether a run is next at some of its machines (lower-case ids, from *from* to *last*), and they are free or shared.
local function may_have(run, ids, from, last)
    for at = from, last do
        local m = ids[at]
        spend(1)
        if not (is_next(run, m) and is_free(m)) and not is_shared(run, m) then
            return false
        end
    end
    return true
end

-- Whether nobody holds or wants any of some machines but the run, by two counts: where it stands in one of their lines it
-- stands in all of them, and whoever is at a machine between them counts as well.
local function are_its_own(run, ids, from, last)
    local first, to = span(ids[from]), "(" .. ids[last] .. "\1"
    local own = call("ZSCORE", LINES, line_member(run, ids[from])) and last - from + 1 or 0
    return call("ZLEXCOUNT", HOLDERS, first, to) == 0 and call("ZLEXCOUNT", LINES, first, to) == own
end

-- The same of many, from one look at all of them.
local function may_have_many(run, ids, from, last)
    if are_its_own(run, ids, from, last) then
        return true
    end
    local most = MOST_EACH * (last - from + 1)
    local holders = members_at(HOLDERS, ids, from, last, most)
    if not holders then
        -- Where there are many, they are asked for at each machine.
        return may_have(run, ids, from, last)
    end
    local firsts, shared
    -- What its own members have behind a machine.
    local own = "\0" .. run.order .. "\0" .. run.id
    spend((last - from) / 4)
    for at = from, last do
        local m = ids[at]
        local those = holders[m]
        if those then
            -- What they hold at the machine before, they hold here.
            if those ~= shared and not is_shared(run, m, those) then
                return false
            end
            shared = those
        else
            firsts = firsts or firsts_at(LINES, ids, at, last, most) or NONE
            if firsts == NONE and call("ZLEXCOUNT", LINES, "[" .. m .. "\0", "(" .. m .. own) > 0
                or firsts[m] and run.order > string.sub(firsts[m], 1, 26) then
                return false
            end
        end
    end
    return true
end

-- Whether a run, which waits or is to wait, may have all its machines.
local function may_start(run)
    local ids = lower_ids(run.machines)
    -- Of most waiters one of the first is busy.
    local first = math.min(FEW, #ids)
    if not may_have(run, ids, 1, first) then
        return false
    end
    local may_have_more = #ids > first and are_in_order(ids) and may_have_many or may_have
    for from = first + 1, #ids, BULK do
        if not may_have_more(run, ids, from, math.min(from + BULK - 1, #ids)) then
            return false
        end
    end
    return IS_OPEN
end

local function child_member(run)
    return string.format("%016d", run.family) .. "\0" .. run.id
end

-- Note that a run has nothing to do with who has named it his parent, or whom it has named.
local function leave_family(run)
    if run.family then
        call("ZREM", CHILDREN, child_member(run))
    end
    run.family, run.family_word = nil, nil
    forget_families()
end

local function leave_lines(run)
    in_bulk("ZREM", LINES, members_of(run.machines, "\0" .. run.order .. "\0" .. run.id))
    call("HDEL", WANTS, run.id)
end

local function note_wants(run)
    call("HSET", WANTS, run.id, table.concat(run.machines, ","))
end

-- Put a run into its lines.
local function line_up(run)
    in_bulk("ZADD", LINES, members_of(run.machines, "\0" .. run.order .. "\0" .. run.id, "0"))
    note_wants(run)
end

-- Take a run out of its lines, and of all that is about waiters.
local function stop_waiting(run)
    spend(MOVE * #run.machines)
    leave_lines(run)
    call("SREM", BLOCKING, run.id)
    if run.family then
        call("ZREM", CHILDREN, child_member(run))
    end
    if run.is_counted then
        call("ZREM", OWNED, run.owner .. "\0" .. run.id)
    end
    if run.delayed_ms then
        call("HDEL", DELAYS, run.id)
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

