-- lib/grants.lua: grants: leases for the waiters that may start.
--
-- needs: clock, keys, runs, lines

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

-- Rule 11: have a worker answer the intervention of a parked run, whose step is over and hears nothing.
local function queue_resume(run)
    if run.parked and not hears(run) then
        call("ZADD", RESUMES, NOW, run.id)
    end
end

local function grant(run)
    local order = run.order
    stop_waiting(run)
    run.order = order
    for _, machine in ipairs(run.machines) do
        call("ZADD", HOLDERS, 0, holder_member("lease", run, machine))
    end
    run.state, run.collected, run.told, run.copied = "granted", false, nil, nil
    -- Fencing tokens grow with every grant, also across a loss of all that was counted.
    run.token = math.max(tonumber(call("HGET", COUNTERS, "token") or 0) + 1, NOW)
    call("HSET", COUNTERS, "token", string.format("%.0f", run.token))
    run.granted_at_ms = NOW
    expect_collection(run)
    if run.max_hold_ms then
        call("ZADD", DEADLINES, NOW + run.max_hold_ms, "hold\0" .. run.id)
    end
    save_run(run)
    record("granted", run, run.machines, nil, {
        token = run.token, waited_ms = math.max(0, NOW - run.requested_at_ms), family = run.family,
    })
    wake(run)
    queue_resume(run)
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

-- Rule 10: grant the waiting children of families that hold one of the machines: a child need not be first there, and
-- siblings share each other's grants.
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
local machines_to_grant

-- Grant the heads of the lines of *machines*. One pass is enough: a grant makes machines busy, so that nobody becomes ready
-- by it but its family.
local function grant_heads(machines)
    local seen = {}
    if machines_to_grant then
        for _, machine in ipairs(machines) do
            machines_to_grant[#machines_to_grant + 1] = machine
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

