-- join.lua: put a run into the lines of all its machines and grant it when it is first in each and all are free.
--
-- needs: clock, keys, runs, lines, work, circles, grants, plans, claims, ends, expiry, withdraw, quotas, view
--
-- ARGV[2]  task id
-- ARGV[3]  the request, JSON: machines, info, priority, ttl_ms, timeout_ms, max_hold_ms, parked, on_behalf_of, cap, reserve,
--          has_key, hold_ms, owner (whose token asks; none of who may do everything), spaces, projects, families and
--          parent_projects (that its token has as limits, id -> true), max_waiting, max_new_machines, max_new_mb, credential,
--          remark, verdict ("take": the run is its owner's; "share": it may act beside its owner), of a wait that was
--          lost, rebuilt: {raised_ms, has_terms}, and of a step that has one the claim and the family_word for it;
--          parent_word is what proves on_behalf_of; step is "old" where the step says no version, "new" where it does
--
-- Returns {"joined", view...}, {"known", view...} when it waits or holds already (rule 4),
-- {"holds_others", machine, run JSON} when it waits for or holds other machines than it asks for now, or {"left", now} when
-- the execution of the step that asks is over, or another one has followed it. Before any of that {"others", run JSON, now}
-- when the run belongs to another owner and there is no verdict, {"full", waiting} when too many of its owner wait, or
-- {"spent", limit, added today, added by this run, the first new machine} when its owner may add no more of it today.

expire_due()
local ask = cjson.decode(ARGV[3])
local run = load_run(ARGV[2])
asking_task = lower(ARGV[2])

-- Projects that are noted for their old steps at most.
local MAX_OLD_STEPS = 1000

local function note_step()
    local project = id_of(ask.info, "project")
    local field = project and lower((ask.info.space_id or "") .. "\0" .. project)
    if project and ask.step == "new" then
        call("HDEL", OLD_STEPS, field)
    elseif project and ask.step == "old" and call("HLEN", OLD_STEPS) < MAX_OLD_STEPS then
        local note = { project = ask.info.project, space_id = ask.info.space_id, at_ms = NOW }
        call("HSET", OLD_STEPS, field, cjson.encode(note))
    end
end

-- Whether the limits of the owner that asks are about other spaces or projects than a run is of.
local function excludes(other)
    local space = other.true_space or other.info.space_id
    local project = other.true_project or id_of(other.info, "project")
    return (ask.spaces and space and not ask.spaces[lower(space)])
        or (ask.projects and project and not ask.projects[lower(project)])
end

if run and not ask.verdict and is_anothers(run, ask.owner) and (run.owner or excludes(run)) then
    return { "others", cjson.encode(run), NOW }
end

if is_over(ARGV[2], ask.claim) then
    if run and run.claim == ask.claim and FAILING_ENDS[run.state] then
        return view("known", run)
    end
    local ended = run and end_of_wait(run, ask.claim)
    if ended then
        return { "known", cjson.encode(ended), NOW, {} }
    end
    return { "left", NOW }
end
-- The first of the machines that are asked for which the run does not wait for or hold.
local function machine_beyond()
    local has = {}
    for _, machine in ipairs(run.machines) do
        has[lower(machine)] = true
    end
    for _, machine in ipairs(ask.machines) do
        if not has[lower(machine)] then
            return machine
        end
    end
    return nil
end

local is_taken = run and ask.verdict == "take" and (run.state == "waiting" or run.state == "granted")
local is_taken_anew = is_taken and (machine_beyond() or (run.state == "waiting" and run.claim ~= ask.claim))
if is_taken_anew or not (run and (run.state == "waiting" or run.state == "granted")) then
    local refusal = beyond_quota(ask, #ARGV[3])
    if refusal then
        return refusal
    end
end
note_step()
if is_taken_anew then
    -- Its owner asks for it now, so nobody works under what another one had asked for.
    finish(run, run.state == "granted" and "released" or "left", "taken_over")
    run = load_run(ARGV[2])
end
if run and (run.state == "waiting" or run.state == "granted") then
    local beyond = machine_beyond()
    if beyond then
        return { "holds_others", beyond, cjson.encode(run) }
    end
    if is_doubtful(run) then
        withdraw(run)
    end
    run.asked_at_ms = NOW
    if ask.owner and not ask.verdict then
        run.owner = run.owner or ask.owner
    elseif ask.verdict == "share" then
        run.rival = ask.owner
        record("disputed", run, run.machines, "owner", { owner = run.owner, rival = run.rival })
    elseif ask.verdict == "take" then
        if run.is_counted then
            call("ZREM", OWNED, run.owner .. "\0" .. run.id)
        end
        run.owner, run.rival, run.is_counted = ask.owner, nil, nil
        if run.claim ~= ask.claim then
            leave_family(run)
        end
    end
    if ask.max_waiting and run.owner == ask.owner and not run.is_counted then
        -- It was another's before, or nobody's, or its owner had no limit.
        run.is_counted = true
        if run.state == "waiting" then
            call("ZADD", OWNED, 0, run.owner .. "\0" .. run.id)
        end
    end
    if ask.claim and ask.claim ~= run.claim then
        -- Another execution of the step runs, so the task is not over.
        end_claim(run.id, run.claim)
        call("ZREM", DEADLINES, "grace\0" .. run.id)
        run.claim, run.told, run.family_word = ask.claim, nil, run.family_word or ask.family_word
        run.credential = ask.credential
    end
    if run.state == "waiting" and (run.parked or false) ~= (ask.parked or false) then
        -- The wait step was replaced by a claim, or the other way round, and the task was retried.
        run.parked = ask.parked
        note_unrecorded(run, 1)
        call("SREM", BLOCKING, run.id)
        call("ZREM", DEADLINES, "life\0" .. run.id)
        if not run.parked and not run.unchecked then
            call("SADD", BLOCKING, run.id)
        end
    elseif run.state == "granted" and not ask.claim and not is_uncopied(run) then
        -- The step hears of the grant in this answer, and the task is not over: this step runs.
        call("ZREM", RESUMES, run.id)
        call("ZREM", DEADLINES, "grace\0" .. run.id)
    end
    save_run(run)
    show_life(run, ask.claim)
    return view("known", run)
end

local before = run or { id = ARGV[2], run = 1, state = "new" }
if ask.claim and before.claim ~= ask.claim then
    end_claim(before.id, before.claim)
end
local given_back = {}
if before.state == "observed" then
    -- Rule 8: an observed run that reaches its wait step stops being observed.
    let_go("observed", before, before.machines or {})
    for _, machine in ipairs(before.machines or {}) do
        given_back[#given_back + 1] = machine
    end
end
local presumed, delayed_since = give_up_presumed(before)
for _, machine in ipairs(presumed) do
    given_back[#given_back + 1] = machine
end

-- Rule 10: the number of the family of a run that works: it holds, or its machines or even its start are not known yet,
-- since Octopus is late or Redis was lost. Nil for a run that waits or has ended, or has not given the word for its family.
local is_disowned
local function may_name(parent)
    local word = parent and parent.family_word
    if ask.parent_word and word then
        return word == ask.parent_word
    elseif not ask.owner or ask.owner == "*" and not (parent and parent.owner) then
        return true
    elseif not (parent and parent.owner) then
        -- Nobody knows whose it is: its project has to say so.
        local project = parent and (parent.true_project or id_of(parent.info, "project"))
        return project and (ask.parent_projects or {})[lower(project)]
    end
    return parent.owner == ask.owner or (ask.families or {})[parent.owner]
end

local function family_to_join(task)
    if lower(task) == asking_task then
        return nil
    end
    local parent = load_run(task)
    is_disowned = not may_name(parent) or nil
    if is_disowned then
        return nil
    end
    if not parent then
        parent = { id = task, run = 1, state = "known", info = {} }
        call("ZADD", ENDED, NOW, lower(task))
    elseif not ({ granted = true, observed = true, started = true, known = true })[parent.state] then
        return nil
    end
    if not parent.family or not parent.is_parent then
        parent.family = parent.family or call("HINCRBY", COUNTERS, "family", 1)
        parent.is_parent = true
        save_run(parent)
        forget_families()
    end
    return parent.family
end

run = {
    id = before.id,
    run = before.end_seen and before.run + 1 or before.run,
    v = before.v,
    state = "waiting",
    machines = ask.machines,
    info = ask.info,
    priority = ask.priority,
    parked = ask.parked,
    rebuilt = ask.rebuilt,
    on_behalf_of = ask.on_behalf_of,
    has_key = ask.has_key,
    hold_ms = ask.hold_ms,
    family = (not FINISHED[before.state] and before.family) or (ask.on_behalf_of and family_to_join(ask.on_behalf_of)) or nil,
    claim = ask.claim,
    owner = ask.owner or before.owner,
    credential = ask.credential,
    remark = ask.remark,
    true_space = before.true_space,
    true_project = before.true_project,
    true_slugs = before.true_slugs,
    family_word = ask.claim and (ask.claim == before.claim and before.family_word or ask.family_word) or nil,
    ttl_ms = ask.ttl_ms,
    max_hold_ms = ask.max_hold_ms,
    order = string.format("%010d%016d", 5000000000 - ask.priority, call("HINCRBY", COUNTERS, "order", 1)),
    requested_at_ms = NOW,
    asked_at_ms = NOW,
    started_oct_ms = before.started_oct_ms,
    -- The event of the earlier run's end is still to come when its step released it, and must not end this run.
    prior_end_oct_ms = before.ended_oct_ms or before.prior_end_oct_ms,
    owes_end = (before.state == "released" and not before.end_seen) or nil,
    after = before.state ~= "new" and (before.wait_ended or before.state) or nil,
}
run.disowned = is_disowned
run.is_parent = run.family and run.family == before.family and before.is_parent or nil
forget_deadlines(run)
call("ZREM", UNRESOLVED, run.id)
call("ZREM", RESUMES, run.id)
call("ZREM", ENDED, lower(run.id))
call("DEL", WAKE .. run.id)
for _, id in ipairs({ run.info.deployment_id or false, run.info.runbook_run_id or false }) do
    local known = id and call("HGET", ALIASES, lower(id))
    local other = known and lower(known) ~= lower(run.id) and ask.owner and load_run(known)
    -- Whoever names the deployment of a run that has not ended does not get the events that are about that.
    if id and not (other and not FINISHED[other.state]) then
        call("HSET", ALIASES, lower(id), run.id)
    end
end
use_quota(ask)
register_machines(run.machines)
run.is_counted = ask.max_waiting and true or nil
-- Who makes up tasks takes no place of those that wait: what is not checked does not count for the task cap.
run.unchecked = ask.has_key and ask.owner and true or nil
if run.unchecked then
    call("ZADD", UNCHECKED, NOW, run.id)
end
if ask.timeout_ms then
    run.timeout_at_ms = NOW + ask.timeout_ms
end

local function begin_to_wait()
    line_up(run)
    if run.family then
        call("ZADD", CHILDREN, 0, child_member(run))
    end
    if run.is_counted then
        call("ZADD", OWNED, 0, run.owner .. "\0" .. run.id)
    end
    if not run.unchecked and not run.parked then
        call("SADD", BLOCKING, run.id)
    end
    if run.timeout_at_ms then
        call("ZADD", DEADLINES, run.timeout_at_ms, "timeout\0" .. run.id)
    end
    show_life(run)
    save_run(run)
end

-- Who is next everywhere takes no place, and is written once, as granted.
local is_first = may_start(run)
if not is_first then
    begin_to_wait()
end
record("joined", run, run.machines, run.after, {
    priority = run.priority ~= 0 and run.priority or nil,
    parked = run.parked,
    family = run.family,
    on_behalf_of = ask.on_behalf_of,
    disowned = is_disowned,
    rebuilt = ask.rebuilt and true or nil,
    expected = is_expected(before) or nil,
}, is_first)
learn_plan(run, run.machines, false)
remember_step(run, true)

local function blocking_others(waiter)
    return call("SCARD", BLOCKING) - (waiter.unchecked and 0 or 1)
end

-- Nobody else may start because this one waits.
if is_first then
    grant(run, true)
end
grant_heads(given_back, delayed_since)
local circle = nil
if run.state == "waiting" and MOVE * #run.machines > SHARE then
    -- To join was enough for one script: a child is searched with its family, from itself on.
    if run.family then
        put("circles", string.format("%.0f", run.family) .. "\0" .. string.sub(run.order, 1, -2))
    elseif call("ZCARD", CHILDREN) > 0 then
        put("circle", run.id)
    end
    work_off(0)
elseif run.state == "waiting" then
    circle = circle_of(run)
end
if circle then
    refuse_circle(run, circle)
elseif run.state == "waiting" and not run.parked and ask.cap and blocking_others(run) >= ask.cap - ask.reserve - 1 then
    -- Rule 12: waiters must leave task slots of Octopus to the runs that they wait for.
    local blocking = blocking_others(run)
    finish(run, "refused", "task_cap", { refusal = { blocking = blocking, cap = ask.cap, reserve = ask.reserve } })
end
if run.state == "granted" and not ask.rebuilt then
    show_life(run, ask.claim)
end
return view("joined", run)
