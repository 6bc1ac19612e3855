-- check.lua: note what Octopus says of the task of a run that a step has joined.
--
-- needs: clock, keys, runs, lines, grants, plans, claims, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  seen   the version of the run that was compared with its task
-- ARGV[4]  facts, JSON: space, project, slugs, deployment (or runbook run) of the task; wrong (why the run is not what its step
--          says, if it is not), is_missing (there is no such task), is_queued (it has not begun), unknown (machines that are
--          none), cap, reserve
--
-- Returns {"checked"}, {"disproved"}, {"refused"} when too many block the slots of Octopus, or {"late"} when the run has
-- ended, was checked, or has changed since.

expire_due()
local run = load_run(ARGV[2])
if not run or not run.unchecked or (run.state ~= "waiting" and run.state ~= "granted") then
    call("ZREM", UNCHECKED, run and run.id or ARGV[2])
    return { "late" }
end
if tonumber(ARGV[3]) ~= run.v then
    return { "late" }
end
local facts = cjson.decode(ARGV[4])
run.unchecked = nil
run.true_space, run.true_project = facts.space or run.true_space, facts.project or run.true_project
if facts.wrong then
    -- Who has called it his parent has nothing to do with what it is.
    leave_family(run)
end
run.true_slugs = facts.slugs or run.true_slugs
call("ZREM", UNCHECKED, run.id)

-- The machines of a lease whose step has said what is not so: the task may work on them, until its plan is known.
local function observe_instead(reason)
    local machines = run.machines
    let_go("lease", run, machines)
    forget_deadlines(run)
    call("ZREM", RESUMES, run.id)
    end_claim(run.id, run.claim)
    local held_ms = NOW - run.granted_at_ms
    run.state, run.machines, run.claim, run.owner, run.rival, run.parked = "started", nil, nil, nil, nil, nil
    run.in_doubt = nil
    record("released", run, machines, "disproved", { held_ms = held_ms, reason = reason })
    call("ZADD", UNRESOLVED, NOW, run.id)
    presume(run, machines, "disproved", nil)
end

if facts.wrong then
    for _, id in ipairs({ run.info.deployment_id or false, run.info.runbook_run_id or false }) do
        local known = id and call("HGET", ALIASES, lower(id))
        if known and lower(known) == lower(run.id) then
            call("HDEL", ALIASES, lower(id))
        end
    end
    -- What is not there, or has not begun, works nowhere.
    run.end_seen = facts.is_missing or run.end_seen
    run.gave_back = facts.is_queued or run.gave_back
    if run.state == "granted" and not facts.is_missing and not facts.is_queued then
        observe_instead(facts.wrong)
    else
        finish(run, run.state == "waiting" and "refused" or "released", "disproved", { reason = facts.wrong })
    end
    return { "disproved" }
end

if facts.deployment then
    call("HSET", ALIASES, lower(facts.deployment), run.id)
end
if facts.unknown and #facts.unknown > 0 then
    run.remark = run.remark or "Octopus knows no " .. table.concat(facts.unknown, ", ") .. "."
    record("disputed", run, facts.unknown, "no_machine", nil)
end
save_run(run)
if run.state == "waiting" and not run.parked then
    call("SADD", BLOCKING, run.id)
    if facts.cap and call("SCARD", BLOCKING) >= facts.cap - facts.reserve then
        local blocking = call("SCARD", BLOCKING) - 1
        finish(run, "refused", "task_cap", { refusal = { blocking = blocking, cap = facts.cap, reserve = facts.reserve } })
        return { "refused" }
    end
end
-- Its children may share its machines from now on.
forget_families()
grant_children(run.family)
return { "checked" }
