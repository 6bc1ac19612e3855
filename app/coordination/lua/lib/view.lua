-- lib/view.lua: the view of a run that answers its step: places, holders and runs ahead.
--
-- needs: clock, keys, runs, lines

-- Machines of a run that a view shows at most.
local MAX_VIEWED = 200

-- Those who make a machine busy that a view shows at most, and after how many of all machines it shows one at each; it
-- counts all.
local MAX_HOLDERS, MAX_RECORDS = 20, 200

-- Bytes of a record above which a view leaves out the machines of a holder: it would repeat them at each of its machines.
local MAX_HOLDER_BYTES = 4096

-- The machines of a run that a view shows. Of more than it shows these come first: the one where the wait is longest, and
-- the first that somebody makes busy.
local function viewed(run)
    local machines = run.machines or run.presumed or {}
    if #machines <= MAX_VIEWED then
        return machines
    end
    local worst, held, worst_rank, own = nil, nil, -1, run.state == "waiting" and 0 or 1
    for _, machine in ipairs(machines) do
        local from, to = span(lower(machine))
        local place = own == 0 and call("ZLEXCOUNT", LINES, from, "[" .. line_member(run, machine)) or 0
        local is_busy = call("ZLEXCOUNT", HOLDERS, from, to) > own
        local rank = 2 * place + (is_busy and 1 or 0)
        if rank > worst_rank then
            worst, worst_rank = machine, rank
        end
        held = held or (is_busy and machine)
    end
    local shown, is_shown = {}, {}
    local function show(machine)
        if machine and not is_shown[machine] and #shown < MAX_VIEWED then
            is_shown[machine] = true
            shown[#shown + 1] = machine
        end
    end
    show(worst)
    show(held)
    for _, machine in ipairs(machines) do
        show(machine)
    end
    return shown
end

-- The record of a run as that of a holder, JSON, or false.
local function holder_record(task)
    local raw = call("HGET", RUNS, lower(task))
    if raw and #raw > MAX_HOLDER_BYTES then
        local run = cjson.decode(raw)
        run.machines, run.presumed, run.planned = nil, nil, nil
        raw = cjson.encode(run)
    end
    return raw
end

-- {word, run JSON, now, {JSON of a holder, ...}, {machine, machine JSON, place, holders in all, {kind, number of the holder's
-- JSON, ...}, {task ahead, ...}}, ...}: many machines often have one holder.
local function view(word, run)
    local records, numbers = {}, {}
    local answer = { word, cjson.encode(run), NOW, records }
    local function number_of(id, read, key)
        if not numbers[id] then
            records[#records + 1] = read(key)
            numbers[id] = #records
        end
        return numbers[id]
    end
    local function reservation_record(m)
        return call("HGET", RESERVATIONS, m)
    end
    local function closed_record()
        local since, cause = unpack(call("HMGET", COUNTERS, "closed_at", "closed_cause"))
        return cjson.encode({ since_ms = tonumber(since), note = cause or nil })
    end
    for _, machine in ipairs(viewed(run)) do
        local m, place, ahead, holders, count = lower(machine), 0, {}, {}, 0
        local from, to = span(m)
        if run.state == "waiting" then
            local own = "[" .. line_member(run, machine)
            place = call("ZLEXCOUNT", LINES, from, own)
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, own, "LIMIT", 0, math.min(place - 1, MAX_AHEAD))) do
                ahead[#ahead + 1] = string.sub(member, #m + 29)
            end
            if not IS_OPEN then
                holders, count = { "rebuilding", number_of("rebuilding", closed_record) }, 1
            end
        end
        -- A run does not wait for machines of its family (rule 10).
        local is_own = run.state == "waiting" and is_shared(run, m)
        if is_own then
            place, ahead = 0, {}
        end
        local members = is_own and {} or call("ZRANGEBYLEX", HOLDERS, from, to, "LIMIT", 0, MAX_HOLDERS + 1)
        for _, member in ipairs(members) do
            local kind, task = string.match(string.sub(member, #m + 2), "^(%a+)%z(.*)$")
            count = count + (task ~= run.id and 1 or 0)
            if task ~= run.id and (#records < MAX_RECORDS or #holders == 0) then
                holders[#holders + 1] = kind
                holders[#holders + 1] = kind == "reservation" and number_of(member, reservation_record, m)
                    or number_of(task, holder_record, task)
            end
        end
        if #members > MAX_HOLDERS then
            local has_own = run.state == "granted" or run.state == "observed" or run.presumed
            count = call("ZLEXCOUNT", HOLDERS, from, to) - (has_own and 1 or 0) + (IS_OPEN and 0 or 1)
        end
        answer[#answer + 1] = { machine, call("HGET", MACHINES, m) or "{}", place, count, holders, ahead }
    end
    return answer
end
