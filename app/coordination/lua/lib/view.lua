-- lib/view.lua: the view of a run that answers its step: places, holders and runs ahead.
--
-- needs: clock, keys, runs, lines

-- {word, run JSON, now, {machine, machine JSON, place, {kind, holder JSON, ...}, {task ahead, ...}}, ...}
local function view(word, run)
    local answer = { word, cjson.encode(run), NOW }
    for _, machine in ipairs(run.machines or run.presumed or {}) do
        local m, place, ahead, holders = lower(machine), 0, {}, {}
        local from, to = span(m)
        if run.state == "waiting" then
            local own = "[" .. line_member(run, machine)
            place = call("ZLEXCOUNT", LINES, from, own)
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, own, "LIMIT", 0, math.min(place - 1, MAX_AHEAD))) do
                ahead[#ahead + 1] = string.sub(member, #m + 29)
            end
            if not IS_OPEN then
                holders = { "rebuilding", cjson.encode({ since_ms = tonumber(call("HGET", COUNTERS, "closed_at")) }) }
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
                    or call("HGET", RUNS, lower(task))
            end
        end
        answer[#answer + 1] = { machine, call("HGET", MACHINES, m) or "{}", place, holders, ahead }
    end
    return answer
end

