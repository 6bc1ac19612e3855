-- lib/circles.lua: the runs that a run waits for, and circles of waits (rule 10).
--
-- needs: keys, bulk, runs, lines, work

-- Machines after which a search of one run is the last of its script: each takes as long as some runs.
local MAX_LOOKS = 3000

-- Such machines that a search of one run with few takes as long as.
local SEARCH = 5

-- Waiters whose machines are read at once.
local AT_ONCE = 200

-- What a search has seen, or several of one family have:
-- came_by   task -> {from, machine or nil, holder | ahead | child}, how it was reached, one table for all that were together;
--           {} where a search began
-- up_to     machine -> the order up to which its line was read, so that a line costs its length
-- families  task -> family, of all waiters that have one
-- parents   family -> true, of those whose waiting children it has come to
-- lists     machines as WANTS has them -> the list; many runs have the same
-- count     runs that it came to; most: of how many it may; is_cut: these were not all
-- looks     machines that it looked at, and what its searches took besides
-- familys   family -> machine -> whether the family holds it; of those whose holders the search came to for the family
-- done      family -> list of machines -> the order up to which its children were followed that want these
local function new_search()
    local families = {}
    for _, member in ipairs(call("ZRANGE", CHILDREN, 0, -1)) do
        families[string.sub(member, 18)] = tonumber(string.sub(member, 1, 16))
    end
    return {
        came_by = {}, up_to = {}, families = families, parents = {}, lists = {}, count = 0, most = MAX_SEARCHED, looks = 0,
        familys = {}, done = {},
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

local function of_family(of_all, family)
    of_all[family] = of_all[family] or {}
    return of_all[family]
end

-- Whether a sibling that wants the same machines and stands behind a waiter was followed, so that this leads nowhere new.
local function is_followed(machines, order, family, search)
    local up_to = of_family(search.done, family)[machines]
    return up_to ~= nil and order <= up_to
end

-- Whether a waiter may lead to somebody new.
local function leads_on(task, order, machines, search)
    local family = search.families[task]
    if family then
        return not is_followed(machines, order, family, search)
    end
    return not is_read(machines, order, search)
end

-- Add those of *reached* to the queue that may lead on. *places*: what begins with the order of each that waits; false of a
-- holder.
local function queue_reached(reached, places, queue, search)
    local waiters, orders, holders, count = {}, {}, {}, 0
    for at = 1, #reached do
        if places[at] then
            count = count + 1
            waiters[count], orders[count] = reached[at], places[at]
        else
            holders[#holders + 1] = reached[at]
        end
    end
    read_families(holders)
    for _, task in ipairs(holders) do
        if family_named(task) then
            queue[#queue + 1] = { id = task, family = family_named(task) }
        end
    end
    local families, find = search.families, string.find
    for from = 1, #waiters, AT_ONCE do
        local some = { unpack(waiters, from, math.min(from + AT_ONCE - 1, #waiters)) }
        for at, text in ipairs(call("HMGET", WANTS, unpack(some))) do
            local task = some[at]
            -- One that wants one machine, and is of no family, leads nowhere new: it was reached in the line of that.
            if families[task] or not text or find(text, ",", 1, true) then
                local machines, order = machines_of(task, text, search), string.sub(orders[from + at - 1], 1, 26)
                if leads_on(task, order, machines, search) then
                    queue[#queue + 1] = { id = task, order = order, machines = machines, family = families[task] }
                end
            end
        end
    end
    search.count = search.count + #reached
    spend(#reached)
end

-- The members of the line of a machine ahead of a run, without the machine, of those behind *before* or all.
local function line_from(m, before, run)
    local from, ahead = before and "[" .. m .. "\0" .. before or span(m), {}
    for at, member in ipairs(call("ZRANGEBYLEX", LINES, from, "(" .. line_member(run, m))) do
        ahead[at] = string.sub(member, #m + 2)
    end
    return ahead
end

-- How many of those in a line want just what a run wants: they stand at all its machines.
local function count_alike(run, line)
    local text, tasks, count = table.concat(run.machines, ","), {}, 0
    for at, member in ipairs(line) do
        tasks[at] = string.sub(member, 28)
    end
    for _, other in ipairs(values_of(WANTS, tasks)) do
        count = count + (other == text and 1 or 0)
    end
    return count
end

-- Members of a machine that are read with those of others in a search, which comes to all of them.
local MOST_EACH_SEARCHED = 10

-- A function that reads the lines of a run's machines ahead of it. Where a long line was read, and as many are ahead at another
-- machine as want the same there as the run, they are the same ones: nothing is read.
local function reader_of_lines(run, ids)
    local own, alike = run.order and run.order .. "\0" .. run.id, nil
    local read = reader_of(LINES, ids, own, MOST_EACH_SEARCHED)
    return function(at, before)
        local line, m = read(at), ids[at]
        if line or before or #ids <= FEW then
            return line or line_from(m, before, run)
        end
        local from = span(m)
        if alike and call("ZLEXCOUNT", LINES, from, "(" .. line_member(run, m)) == alike then
            return {}
        end
        line = line_from(m, nil, run)
        alike = alike or count_alike(run, line)
        return line
    end
end

-- The runs that a run waits for and that no search has reached, or *goal*, and what `queue_reached` takes besides. A holder
-- waits for the children that it started. A child waits for strangers only where its family holds, whoever is ahead there.
local function reach_from(run, goal, search)
    local reached, places, count, came_by, sub = {}, {}, 0, search.came_by, string.sub
    local function reach(way, task, place)
        if task == goal or not came_by[task] then
            count = count + 1
            came_by[task], reached[count], places[count] = way, task, place
        end
    end
    local ids = lower_ids(run.machines or {})
    -- List of holders -> their task ids.
    local tasks_in = {}
    local function note_holders(lists)
        local all = {}
        for id, list in pairs(lists) do
            if not tasks_in[list] then
                tasks_in[list] = tasks_at(id, list)
                for _, task in ipairs(tasks_in[list]) do
                    all[#all + 1] = task
                end
            end
        end
        if run.family then
            read_families(all)
        end
    end
    local holders_in = reader_of(HOLDERS, ids, nil, MOST_EACH_SEARCHED, note_holders)
    local line_in = reader_of_lines(run, ids)
    local familys, lookups = run.family and of_family(search.familys, run.family), 0
    -- Reach those who hold a machine; whether its family does.
    local function reach_holders(m, machine, members)
        local holders, is_familys = tasks_in[members] or tasks_at(m, members), false
        local way = { run.id, machine, "holder" }
        read_families(run.family and holders or NONE)
        for _, task in ipairs(holders) do
            if run.family and family_named(task) == run.family then
                is_familys = true
            else
                reach(way, task, false)
            end
        end
        return is_familys
    end
    local function reach_line(machine, line)
        local way, task = { run.id, machine, "ahead" }, nil
        for at = 1, #line do
            task = sub(line[at], 28)
            if not came_by[task] or task == goal then
                count = count + 1
                came_by[task], reached[count], places[count] = way, task, line[at]
            end
        end
    end
    -- What stands at the machine before was reached there: of most runs the same stands at all.
    local last_members, are_last_familys, last_line
    -- No more of them are visited than that, but those behind one line as long as a search may be.
    local most, up_to, machines = search.most + MAX_SEARCHED / 5 - search.count, search.up_to, run.machines
    for at = 1, #ids do
        if count > most then
            search.is_cut = true
            break
        end
        local m, machine = ids[at], machines[at]
        local before, is_familys = up_to[m], run.family and familys[m] or false
        if not (run.family and familys[m] ~= nil or before and not run.family) then
            local members = holders_in(at)
            lookups = lookups + 1
            if not members or members ~= last_members then
                are_last_familys, last_members = reach_holders(m, machine, members), members
            end
            is_familys = are_last_familys
        end
        if run.family then
            familys[m] = is_familys
        end
        if not is_familys and not (before and run.order <= before) then
            lookups = lookups + 1
            local line = line_in(at, before)
            if line ~= last_line then
                reach_line(machine, line)
                last_line = line
            end
            up_to[m] = run.order
        end
    end
    search.looks = search.looks + lookups
    spend(lookups)
    if run.family and run.machines then
        of_family(search.done, run.family)[run.machines] = run.order
    end
    if not run.order and not search.parents[run.family] then
        search.parents[run.family] = true
        local children, way = waiting_children(run.family), { run.id, nil, "child" }
        for at, entry in ipairs(records_of(children)) do
            reach(way, children[at], order_in(entry))
        end
    end
    return reached, places
end

-- The same of a waiter with few machines and of no family: a search comes to thousands of these, most of which lead nowhere.
local function reach_from_few(run, goal, search)
    local reached, places, count, came_by, up_to = {}, {}, 0, search.came_by, search.up_to
    local most, lookups, sub = search.most + MAX_SEARCHED / 5 - search.count, 0, string.sub
    for _, machine in ipairs(run.machines) do
        if count > most then
            search.is_cut = true
            break
        end
        local m = lower(machine)
        local before, way = up_to[m], nil
        if not before then
            lookups = lookups + 1
            for _, task in ipairs(tasks_at(m)) do
                if task == goal or not came_by[task] then
                    way = way or { run.id, machine, "holder" }
                    count = count + 1
                    came_by[task], reached[count], places[count] = way, task, false
                end
            end
        end
        if not before or before < run.order then
            lookups, way = lookups + 1, nil
            for _, place in ipairs(line_from(m, before, run)) do
                local task = sub(place, 28)
                if task == goal or not came_by[task] then
                    way = way or { run.id, machine, "ahead" }
                    count = count + 1
                    came_by[task], reached[count], places[count] = way, task, place
                end
            end
            up_to[m] = run.order
        end
    end
    search.looks = search.looks + lookups
    spend(lookups)
    return reached, places
end

-- The circle from a run to itself, as edges {from, to, machine, how}.
local function circle_at(task, search)
    local circle, to = {}, task
    repeat
        local way = search.came_by[to]
        table.insert(circle, 1, { from = way[1], to = to, machine = way[2], how = way[3] })
        to = way[1]
    until to == task
    return circle
end

-- The first circle from a waiting run to itself, or nil. What the searches before came to is not searched again.
local function search_from(run, search)
    search.is_cut = false
    local queue, at = { { id = run.id, order = run.order, machines = run.machines, family = run.family } }, 1
    search.came_by[run.id] = {}
    search.looks = search.looks + SEARCH
    spend(SEARCH)
    search.lists[table.concat(run.machines, ",")] = run.machines
    while queue[at] and search.count < search.most do
        local one = queue[at]
        local has_few = one.order and not one.family and #one.machines <= FEW
        local reached, places = (has_few and reach_from_few or reach_from)(one, run.id, search)
        if search.came_by[run.id][1] then
            return circle_at(run.id, search)
        end
        if #reached > 0 then
            queue_reached(reached, places, queue, search)
        end
        at = at + 1
    end
    search.is_cut = search.is_cut or queue[at] ~= nil
    return nil
end

-- Whether anybody stands behind *own* at one of the machines where that stands, by the members at them.
local function is_any_behind(members, ids, from, last, own)
    local at, find = 1, string.find
    for place = from, last do
        local its = ids[place] .. own
        while members[at] and members[at] ~= its do
            at = at + 1
        end
        local behind = members[at + 1]
        if behind and find(behind, ids[place] .. "\0", 1, true) == 1 then
            return true
        end
    end
    return false
end

-- Whether anybody may wait for a waiting run: somebody behind it, or its family.
local function is_waited_for(run)
    if run.family then
        return true
    end
    local ids, own = lower_ids(run.machines), "\0" .. run.order .. "\0" .. run.id
    local is_ordered = #ids > FEW and are_in_order(ids)
    for from = 1, #ids, BULK do
        local last = math.min(from + BULK - 1, #ids)
        local members = is_ordered and members_between(LINES, ids, from, last, MOST_EACH_SEARCHED * (last - from + 1))
        spend((last - from + 1) / 4)
        for at = from, members and 0 or last do
            local _, to = span(ids[at])
            spend(1)
            if call("ZRANGEBYLEX", LINES, "(" .. ids[at] .. own, to, "LIMIT", 0, 1)[1] then
                return true
            end
        end
        if members and is_any_behind(members, ids, from, last, own) then
            return true
        end
    end
    return false
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
