-- lib/view.lua: the view of a run that answers its step: places, holders and runs ahead.
--
-- needs: clock, keys, bulk, runs, lines

-- Machines of a run that a view shows at most.
local MAX_VIEWED = 200

-- Those who make a machine busy that a view shows at most, and after how many of all machines it shows one at each; it
-- counts all.
local MAX_HOLDERS, MAX_RECORDS = 20, 200

-- Bytes of a record above which a view leaves out the machines of a holder: it would repeat them at each of its machines.
local MAX_HOLDER_BYTES = 4096

local function place_of(run, m)
    local from = span(m)
    return call("ZLEXCOUNT", LINES, from, "[" .. line_member(run, m))
end

-- The place of a run in a line, all of whose members are *line*, and those ahead of it, of MAX_AHEAD at most.
local function place_in(line, run)
    local ahead = {}
    for place, member in ipairs(line or {}) do
        if string.sub(member, 1, 26) == run.order then
            return place, ahead
        elseif place <= MAX_AHEAD then
            ahead[place] = string.sub(member, 28)
        end
    end
    return 0, {}
end

-- Members of lines, or holders, that a view of a run with many machines counts at most, some 5 ms.
local MAX_COUNTED = 6000

-- Up to *BULK* of the machines of a run, which are looked at together: {from, last: their places in the list, in_lines,
-- holders: how many stand there}.
local function slices_of(machines, is_waiting)
    local slices = {}
    for from = 1, #machines, BULK do
        local last = math.min(from + BULK - 1, #machines)
        local first, to = span(lower(machines[from])), "(" .. lower(machines[last]) .. "\1"
        slices[#slices + 1] = {
            from = from, last = last, in_lines = is_waiting and call("ZLEXCOUNT", LINES, first, to) or 0,
            holders = call("ZLEXCOUNT", HOLDERS, first, to),
        }
    end
    return slices
end

-- Choose the slices that are counted machine by machine: those with the longest lines first, until these are too many.
local function choose_slices(slices)
    local longest, left = { unpack(slices) }, MAX_COUNTED
    table.sort(longest, function(one, other)
        if one.in_lines ~= other.in_lines then
            return one.in_lines > other.in_lines
        end
        return one.from < other.from
    end)
    for number, slice in ipairs(longest) do
        left = left - slice.in_lines - slice.holders
        slice.is_counted = left >= 0 or number == 1
    end
end

-- How many members of a sorted set stand at each of the machines *ids*, by one look: a function of the place of a machine.
-- *order*: of a line, none behind it.
local function counts_at(key, ids, order)
    local members_in, last, count = reader_of(key, ids), nil, 0
    return function(at)
        local members = members_in(at)
        if not members then
            local from, to = span(ids[at])
            return call("ZLEXCOUNT", key, from, order and "(" .. ids[at] .. "\0" .. order .. "\1" or to)
        elseif members ~= last then
            last, count = members, #members
            while order and count > 0 and string.sub(members[count], 1, 26) > order do
                count = count - 1
            end
        end
        return count
    end
end

-- Of the many machines of a run the one where its wait is longest, and the first that somebody else makes busy, if one
-- is. Where others stand in too many lines, one machine in BULK is looked at of those with the shorter ones.
local function notable(run, machines)
    local own, worst, held, worst_rank = run.state == "waiting" and 0 or 1, nil, nil, -1
    local function note(machine, place, is_busy)
        local rank = 2 * place + (is_busy and 1 or 0)
        if rank > worst_rank then
            worst, worst_rank = machine, rank
        end
        held = held or (is_busy and machine)
    end
    local slices = slices_of(machines, own == 0)
    choose_slices(slices)
    for _, slice in ipairs(slices) do
        local from, last = slice.from, slice.last
        -- Between those that the caller asked for in order there are hardly any others.
        local is_alone = own == 1 or slice.in_lines == last - from + 1
        local is_idle = slice.holders == own * (last - from + 1)
        if is_alone and is_idle then
            note(machines[from], 1 - own, false)
        elseif not (is_alone and held and worst_rank >= 3 - 2 * own) then
            last = (slice.is_counted or not held and not is_idle) and last or from
            local ids = lower_ids({ unpack(machines, from, last) })
            local place_in_line, count_of = counts_at(LINES, ids, run.order), counts_at(HOLDERS, ids)
            for at = 1, #ids do
                note(machines[from + at - 1], is_alone and 1 - own or place_in_line(at), not is_idle and count_of(at) > own)
            end
        end
    end
    return worst, held
end

-- The machines of a run that a view shows. Of more than it shows these come first: the one where the wait is longest, and
-- the first that somebody makes busy.
local function viewed(run, machines)
    if #machines <= MAX_VIEWED then
        return machines
    end
    local worst, held = notable(run, machines)
    local shown, is_shown = {}, {}
    for _, machine in ipairs({ worst, held or worst, unpack(machines, 1, MAX_VIEWED) }) do
        if not is_shown[machine] and #shown < MAX_VIEWED then
            is_shown[machine] = true
            shown[#shown + 1] = machine
        end
    end
    return shown
end

-- The record of a run as that of a holder, JSON; of one that is not there, its id.
local function holder_record(task)
    local raw = call("HGET", RUNS, lower(task))
    for _, name in ipairs({ "machines", "presumed", "planned" }) do
        local at = raw and #raw > MAX_HOLDER_BYTES and value_at(raw, name)
        if at and string.byte(raw, at) == string.byte("[") then
            raw = string.sub(raw, 1, at) .. string.sub(raw, string.find(raw, "]", at, true), -1)
        end
    end
    return raw or cjson.encode({ id = task })
end

-- A function of a machine (lower-case id): all of its members in a sorted set, without the machine; nil where it is to be
-- asked for alone, since it is none of *ids*, or these are few, or have many.
local function look_up(key, ids)
    local read = #ids > FEW and are_in_order(ids) and members_at(key, ids, 1, #ids, MOST_EACH * #ids)
    local is_read = {}
    for _, id in ipairs(read and ids or {}) do
        is_read[id] = true
    end
    return function(m)
        return is_read[m] and (read[m] or {}) or nil
    end
end

-- The place of a run in the line of a machine, and those ahead.
local function place_at(run, m, line)
    if line then
        return place_in(line, run)
    end
    local place, ahead, from = place_of(run, m), {}, span(m)
    local own = "(" .. line_member(run, m)
    for _, member in ipairs(place > 1 and call("ZRANGEBYLEX", LINES, from, own, "LIMIT", 0, MAX_AHEAD) or {}) do
        ahead[#ahead + 1] = string.sub(member, #m + 29)
    end
    return place, ahead
end

-- The first of those who make a machine busy, and how many there are.
local function holders_at(m, members)
    if members then
        return members, #members
    end
    local first, from, to = {}, span(m)
    for at, member in ipairs(call("ZRANGEBYLEX", HOLDERS, from, to, "LIMIT", 0, MAX_HOLDERS + 1)) do
        first[at] = string.sub(member, #m + 2)
    end
    return first, #first > MAX_HOLDERS and call("ZLEXCOUNT", HOLDERS, from, to) or #first
end

-- {word, run JSON, now, {JSON of a holder, ...}, {machine, machine JSON, place, holders in all, {kind, number of the
-- holder's JSON, ...}, {task ahead, ...}}, ...}: many machines often have one holder.
local function view(word, run)
    local records, numbers = {}, {}
    local answer = { word, texts[lower(run.id)], NOW, records }
    local function number_of(id, read, key)
        if not numbers[id] then
            records[#records + 1] = read(key)
            numbers[id] = #records
        end
        return numbers[id]
    end
    local function reservation_record(m)
        return call("HGET", RESERVATIONS, m) or cjson.encode({ id = m, since_ms = NOW })
    end
    local function closed_record()
        local since, cause = unpack(call("HMGET", COUNTERS, "closed_at", "closed_cause"))
        return cjson.encode({ since_ms = tonumber(since), note = cause or nil })
    end
    local machines, is_waiting = run.machines or run.presumed or {}, run.state == "waiting"
    local first = lower_ids(#machines <= MAX_VIEWED and machines or { unpack(machines, 1, MAX_VIEWED) })
    local shown, line_of, holders_of = viewed(run, machines), is_waiting and look_up(LINES, first), look_up(HOLDERS, first)
    local names = values_of(MACHINES, lower_ids(shown))
    local has_own = run.state == "granted" or run.state == "observed" or run.presumed
    for at, machine in ipairs(shown) do
        local m, place, ahead, holders, count = lower(machine), 0, {}, {}, 0
        -- A run does not wait for machines of its family (rule 10).
        local is_own = is_waiting and is_shared(run, m)
        if is_waiting and not IS_OPEN then
            holders, count = { "rebuilding", number_of("rebuilding", closed_record) }, 1
        end
        if is_waiting and not is_own then
            place, ahead = place_at(run, m, line_of(m))
        end
        if not is_own then
            local members, all = holders_at(m, holders_of(m))
            -- Its own one may be none of the first.
            local own = 0
            for _, member in ipairs(members) do
                local kind, task = string.match(member, "^(%a+)%z(.*)$")
                if task == run.id then
                    own = own + 1
                elseif #holders < 2 * MAX_HOLDERS and (#records < MAX_RECORDS or #holders == 0) then
                    holders[#holders + 1] = kind
                    holders[#holders + 1] = kind == "reservation" and number_of(m .. "\0" .. member, reservation_record, m)
                        or number_of(task, holder_record, task)
                end
            end
            count = count + all - (own == 0 and #members < all and has_own and 1 or own)
        end
        answer[#answer + 1] = { machine, names[at] or "{}", place, count, holders, ahead }
    end
    return answer
end
