-- lib/view.lua: the view of a run that answers its step: places, holders and runs ahead.
--
-- needs: clock, keys, runs, lines

-- Machines of a run that a view shows at most.
local MAX_VIEWED = 200

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

-- The record of a run as that of a holder, JSON; nil where nobody knows it.
local function holder_record(task, records)
    if records[task] == nil then
        local raw = call("HGET", RUNS, lower(task))
        if raw and #raw > MAX_HOLDER_BYTES then
            local run = cjson.decode(raw)
            run.machines, run.presumed, run.planned = nil, nil, nil
            raw = cjson.encode(run)
        end
        records[task] = raw
    end
    return records[task]
end

-- {word, run JSON, now, {machine, machine JSON, place, {kind, holder JSON, ...}, {task ahead, ...}}, ...}
local function view(word, run)
    local answer, records = { word, cjson.encode(run), NOW }, {}
    for _, machine in ipairs(viewed(run)) do
        local m, place, ahead, holders = lower(machine), 0, {}, {}
        local from, to = span(m)
        if run.state == "waiting" then
            local own = "[" .. line_member(run, machine)
            place = call("ZLEXCOUNT", LINES, from, own)
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, own, "LIMIT", 0, math.min(place - 1, MAX_AHEAD))) do
                ahead[#ahead + 1] = string.sub(member, #m + 29)
            end
            if not IS_OPEN then
                local since, cause = unpack(call("HMGET", COUNTERS, "closed_at", "closed_cause"))
                holders = { "rebuilding", cjson.encode({ since_ms = tonumber(since), note = cause or nil }) }
            end
        end
        -- A run does not wait for machines of its family (rule 10).
        local is_own = run.state == "waiting" and is_shared(run, m)
        if is_own then
            place, ahead = 0, {}
        end
        for _, member in ipairs(is_own and {} or call("ZRANGEBYLEX", HOLDERS, from, to)) do
            local kind, task = string.match(string.sub(member, #m + 2), "^(%a+)%z(.*)$")
            if task ~= run.id then
                holders[#holders + 1] = kind
                holders[#holders + 1] = kind == "reservation" and call("HGET", RESERVATIONS, m)
                    or holder_record(task, records)
            end
        end
        answer[#answer + 1] = { machine, call("HGET", MACHINES, m) or "{}", place, holders, ahead }
    end
    return answer
end
