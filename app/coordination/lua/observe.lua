-- observe.lua: make the machines of a started run busy, now that a worker knows them (rule 8).
--
-- needs: clock, keys, bulk, runs, grants, plans, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  machines, JSON: [{id, name}, ...]; without a name where it is not known
-- ARGV[4]  info that was learned, JSON
-- ARGV[5]  "1" when a paused run keeps its machines (rule 9)
-- ARGV[6]  plan, JSON: is_full (no machine was chosen for this run: the next one is presumed to use the same),
--          expects_step (a step or gate of ours comes first: the run is about to ask, and holds nothing until then),
--          expect_ms (for how long)
--
-- Returns {"observed"}, {"expected"} when it is about to ask, or {"late"} when the run has ended, waits, holds a lease or
-- gives way by now.

expire_due()
local run = load_run(ARGV[2])
if not run or not (run.state == "started" or run.lingers) then
    call("ZREM", UNRESOLVED, ARGV[2])
    return { "late" }
end
for name, value in pairs(cjson.decode(ARGV[4])) do
    run.info[name] = value
end
run.true_space, run.true_project = run.info.space_id, id_of(run.info, "project") or run.true_project
run.machines = {}
local names = {}
for _, machine in ipairs(cjson.decode(ARGV[3])) do
    table.insert(run.machines, machine.id)
    if machine.name then
        names[#names + 1], names[#names + 2] = lower(machine.id), cjson.encode(machine)
    end
end
in_bulk("HSET", MACHINES, names)
if #run.machines == 0 then
    run.machines = nil
end
if run.paused and ARGV[5] ~= "1" then
    run.gave_way = true
    finish(run, "ended", "paused")
    return { "late" }
end
local plan = cjson.decode(ARGV[6])
learn_plan(run, run.machines or {}, plan.is_full)
if plan.expects_step and not run.lingers then
    expect_step(run, (run.start_seen_at_ms or NOW) + plan.expect_ms)
end
if is_expected(run) and plan.expects_step then
    local presumed, since = stop_presuming(run)
    run.planned, run.machines = run.machines, nil
    call("ZREM", UNRESOLVED, run.id)
    save_run(run)
    record("expected", run, run.planned, nil, { until_ms = run.expected_until_ms })
    grant_heads(presumed, since)
    return { "expected" }
end
observe(run, "resolved")
return { "observed" }
