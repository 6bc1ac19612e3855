-- lib/grants.lua: leases for those who may start.
--
-- needs: clock, keys, runs, lines

-- The run whose step is asking now: it hears the answer, so nobody has to tell it through Octopus.
local asking

-- Rule 11: a parked run has left; what became of it is told through the intervention that it is paused for.
local function tell_parked(run)
    if run.parked and lower(run.id) ~= asking then
        call("ZADD", RESUMES, NOW, run.id)
    end
end

local function grant(run)
    stop_waiting(run)
    for _, machine in ipairs(run.machines) do
        call("ZADD", HOLDERS, 0, holder_member("lease", run, machine))
    end
    run.state, run.collected = "granted", false
    run.token = call("HINCRBY", COUNTERS, "token", 1)
    run.granted_at_ms = NOW
    if not run.parked then
        call("ZADD", DEADLINES, NOW + run.ttl_ms, "life\0" .. run.id)
    end
    if run.max_hold_ms then
        call("ZADD", DEADLINES, NOW + run.max_hold_ms, "hold\0" .. run.id)
    end
    save_run(run)
    record("granted", run, run.machines, nil, {
        token = run.token, waited_ms = NOW - run.requested_at_ms, family = run.family,
    })
    wake(run)
    tell_parked(run)
end

-- The numbers of the families that hold one of the machines; none while no child waits.
local function families_on(machines)
    local families, seen = {}, {}
    for _, machine in ipairs(call("ZCARD", CHILDREN) > 0 and machines or {}) do
        for _, other in ipairs(busy_with(lower(machine))) do
            local family = load_run(other[2]).family
            if family and not seen[family] then
                seen[family] = true
                families[#families + 1] = family
            end
        end
    end
    return families
end

-- Rule 10: a child need not be first where its family holds. What one is granted its siblings share.
local function grant_children(machines)
    for _, family in ipairs(families_on(machines)) do
        local again = true
        while again do
            again = false
            for _, task in ipairs(waiting_children(family)) do
                local child = load_run(task)
                if may_start(child) then
                    grant(child)
                    again = true
                end
            end
        end
    end
end

-- Set only while `expire_due` runs: the machines to grant once all deadlines are handled, since the next waiter may be
-- expiring too.
local freed

-- One pass over the heads is enough: a grant takes machines away, so it can make nobody else ready but its family.
local function grant_heads(machines)
    local seen = {}
    if freed then
        for _, machine in ipairs(machines) do
            freed[#freed + 1] = machine
        end
        return
    end
    for _, machine in ipairs(machines) do
        local task = head(lower(machine))
        if task and not seen[task] then
            seen[task] = true
            local run = load_run(task)
            if may_start(run) then
                grant(run)
            end
        end
    end
    grant_children(machines)
end

