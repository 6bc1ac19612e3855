-- lib/circles.lua: the runs that a run waits for, and circles of waits (rule 10).
--
-- needs: keys, runs, lines

-- The runs that a run waits for, as {to, machine, how = holder|ahead|child}. A holder waits for the children that it
-- started. A child waits for strangers only where its family holds, whoever is ahead there.
-- *searched*: machine -> the order up to which its line was searched by earlier calls, so that a line costs its length.
local function waits_for(run, searched)
    local edges = {}
    for _, machine in ipairs(run.state == "waiting" and run.machines or {}) do
        local m = lower(machine)
        local before, is_familys = searched[m], false
        for _, other in ipairs(before and not run.family and {} or busy_with(m)) do
            if run.family and load_run(other[2]).family == run.family then
                is_familys = true
            else
                edges[#edges + 1] = { to = other[2], machine = machine, how = "holder" }
            end
        end
        if not is_familys and not (before and run.order <= before) then
            local from = before and "[" .. m .. "\0" .. before or span(m)
            for _, member in ipairs(call("ZRANGEBYLEX", LINES, from, "(" .. line_member(run, machine))) do
                edges[#edges + 1] = { to = string.sub(member, #m + 29), machine = machine, how = "ahead" }
            end
            searched[m] = run.order
        end
    end
    for _, child in ipairs(run.state ~= "waiting" and run.family and waiting_children(run.family) or {}) do
        edges[#edges + 1] = { to = child, how = "child" }
    end
    return edges
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

-- Rule 10: the circle in which the run waits for itself, as edges {from, to, machine, how}, or nil. Only families close
-- circles, since other runs take all machines or none: the search costs nothing while no child waits, nor for a run at the
-- end of its lines.
local function circle_of(run)
    local came_by, queue, at, searched = {}, { run }, 1, {}
    if call("ZCARD", CHILDREN) == 0 or not is_waited_for(run) then
        return nil
    end
    while queue[at] and #queue < MAX_SEARCHED do
        for _, edge in ipairs(waits_for(queue[at], searched)) do
            edge.from = queue[at].id
            if edge.to == run.id then
                local circle = { edge }
                while circle[1].from ~= run.id do
                    table.insert(circle, 1, came_by[circle[1].from])
                end
                return circle
            end
            if not came_by[edge.to] then
                came_by[edge.to] = edge
                queue[#queue + 1] = load_run(edge.to)
            end
        end
        at = at + 1
    end
    return nil
end

