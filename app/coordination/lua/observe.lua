-- observe.lua: make the machines of a started run busy, now that a worker knows them (rule 8).
--
-- ARGV[2]  task id
-- ARGV[3]  machines, JSON: [{id, name}, ...]
-- ARGV[4]  info that was learned, JSON
-- ARGV[5]  "1" when a paused run keeps its machines (rule 9)
--
-- Returns {"observed"}, or {"late"} when the run has ended, waits, holds a lease or gives way by now.

expire_due()
local run = load_run(ARGV[2])
if not run or run.state ~= "started" then
    call("ZREM", UNRESOLVED, ARGV[2])
    return { "late" }
end
for name, value in pairs(cjson.decode(ARGV[4])) do
    run.info[name] = value
end
run.machines = {}
for _, machine in ipairs(cjson.decode(ARGV[3])) do
    table.insert(run.machines, machine.id)
    call("HSET", MACHINES, lower(machine.id), cjson.encode(machine))
end
if #run.machines == 0 then
    run.machines = nil
end
if run.paused and ARGV[5] ~= "1" then
    run.gave_way = true
    finish(run, "ended", "paused")
    return { "late" }
end
observe(run, "resolved")
return { "observed" }
