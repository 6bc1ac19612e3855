-- lib/circles.lua: the runs that a run waits for, and circles of waits (rule 10).
--
-- needs: keys, bulk, runs, lines, work

-- Waiters whose machines are read at once.
local AT_ONCE = 200

-- What a search has seen, or several of one family have:
-- came_by   task -> {from, machine, how = holder|ahead|child}, how it was reached; {} where a search began
-- up_to     machine -> the order up to which its line was read, so that a line costs its length
-- families  task -> family, of all waiters that have one
-- parents   family -> true, of those whose waiting children it has come to
-- lists     machines as WANTS has them -> the list; many runs have the same
-- count     runs that it came to; most: of how many it may; is_cut: these were not all
local function new_search()
    local families = {}
    for _, member in ipairs(call("ZRANGE", CHILDREN, 0, -1)) do
        families[string.sub(member, 18)] = tonumber(string.sub(member, 1, 16))
    end
    return {
        came_by = {}, up_to = {}, families = families, parents = {}, lists = {}, count = 0, most = MAX_SEARCHED,
    }
end

-- A run, or nothing where there is only its place.
local function whoever(task)
    return load_run(task) or {}
end

-- The order of a waiter by its record; "" where there is none.
local function order_in(entry)
    if type(entry) == "string" then
        return text_in(entry, "order", '"(%d+)"') or ""
    end
    return entry and entry.order or ""
end

-- The machines of a waiter. *text*: those of WANTS, or false of one that joined before there was that.
local function machines_of(task, text, search)
    if not text then
        return whoever(task).machines or {}
    end
    if not search.lists[text] then
        local machines = {}
        for machine in string.gmatch(text, "[^,]+") do
            machines[#machines + 1] = machine
        end
        search.lists[text] = machines
    end
    return search.lists[text]
end

-- Whether the lines of a waiter were read already as far as it stands, so that it leads nowhere new.
local function is_read(machines, order, search)
    for _, machine in ipairs(machines) do
        local up_to = search.up_to[lower(machine)]
        if not up_to or up_to < order then
            return false
        end
    end
    return true
end

-- Add those of *reached*, {task, order or nil of a holder}, to the queue that may lead on.
local function queue_reached(reached, queue, search)
    local waiters, holders = {}, {}
    for _, one in ipairs(reached) do
        if one.order then
            waiters[#waiters + 1] = one
        else
            holders[#holders + 1] = one.task
        end
    end
    read_families(holders)
    for _, task in ipairs(holders) do
        if family_named(task) then
            queue[#queue + 1] = { id = task, family = family_named(task) }
        end
    end
    for from = 1, #waiters, AT_ONCE do
        local fields = {}
        for at = from, math.min(from + AT_ONCE - 1, #waiters) do
            fields[#fields + 1] = waiters[at].task
        end
        for at, text in ipairs(call("HMGET", WANTS, unpack(fields))) do
            local one = waiters[from + at - 1]
            local machines, family = machines_of(one.task, text, search), search.families[one.task]
            if family or not is_read(machines, one.order, search) then
                queue[#queue + 1] = { id = one.task, order = one.order, machines = machines, family = family }
            end
        end
    end
    search.count = search.count + #reached
    spend(#reached)
end

-- The runs that a run waits for and that no search has reached, or *goal*. A holder waits for the children that it
-- started. A child waits for strangers only where its family holds, whoever is ahead there.
local function reach_from(run, goal, search)
    local reached = {}
    local function reach(way, task, order)
        if task == goal or not search.came_by[task] then
            search.came_by[task] = way
            reached[#reached + 1] = { task = task, order = order }
        end
    end
    for _, machine in ipairs(run.machines or {}) do
        local m = lower(machine)
        local before, is_familys = search.up_to[m], false
        local holders = before and not run.family and {} or tasks_at(m)
        read_families(run.family and holders or {})
        for _, task in ipairs(holders) do
            if run.family and family_named(task) == run.family then
                is_familys = true
            else
                reach({ from = run.id, machine = machine, how = "holder" }, task)
            end
        end
        if not is_familys and not (before and run.order <= before) then
            local from = before and "[" .. m .. "\0" .. before or span(m)
            local way = { from = run.id, machine = machine, how = "ahead" }
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, "(" .. line_member(run, machine))) do
                reach(way, string.sub(member, #m + 29), string.sub(member, #m + 2, #m + 27))
            end
            search.up_to[m] = run.order
        end
    end
    if not run.order and not search.parents[run.family] then
        search.parents[run.family] = true
        local children = waiting_children(run.family)
        for at, entry in ipairs(records_of(children)) do
            reach({ from = run.id, how = "child" }, children[at], order_in(entry))
        end
    end
    return reached
end

-- The circle from a run to itself, as edges {from, to, machine, how}.
local function circle_at(task, search)
    local circle, to = {}, task
    repeat
        local way = search.came_by[to]
        table.insert(circle, 1, { from = way.from, to = to, machine = way.machine, how = way.how })
        to = way.from
    until to == task
    return circle
end

-- The first circle from a waiting run to itself, or nil. What the searches before came to is not searched again.
local function search_from(run, search)
    local queue, at = { { id = run.id, order = run.order, machines = run.machines, family = run.family } }, 1
    search.came_by[run.id] = {}
    while queue[at] and search.count < search.most do
        local reached = reach_from(queue[at], run.id, search)
        if search.came_by[run.id].from then
            return circle_at(run.id, search)
        end
        queue_reached(reached, queue, search)
        at = at + 1
    end
    search.is_cut = queue[at] ~= nil
    return nil
end

-- Whether anybody may wait for a waiting run: somebody behind it, or its family.
local function is_waited_for(run)
    for _, machine in ipairs(run.machines) do
        local _, to = span(lower(machine))
        if call("ZRANGEBYLEX", LINES, "(" .. line_member(run, machine), to, "LIMIT", 0, 1)[1] then
            return true
        end
    end
    return run.family ~= nil
end

-- Rule 10: the circle in which the run waits for itself, as edges, or nil. Only families close circles, since other runs
-- take all machines or none: the search costs nothing while no child waits, nor for a run at the end of its lines.
--
-- *search*: that of its siblings who came before it, or nil. Where they came to is not searched again: if that led to this
-- run, they have come to this run.
local function circle_of(run, search)
    if call("ZCARD", CHILDREN) == 0 or not is_waited_for(run) then
        return nil
    end
    return search_from(run, search or new_search())
end

-- What a search takes to know of each waiting child of a family, those that came first before the others: {id, order,
-- machines, family}.
local function children_by_order(family, search)
    local children, tasks = {}, waiting_children(family)
    local records, wants = records_of(tasks), values_of(WANTS, tasks)
    for at, task in ipairs(tasks) do
        children[at] = {
            id = task, family = family, order = order_in(records[at]), machines = machines_of(task, wants[at], search),
        }
    end
    spend(#children / 2)
    table.sort(children, function(one, other)
        return one.order < other.order
    end)
    return children
end
