-- name.lua: remember the names of a run's project, environment, release and machines, whose ids are known already.
--
-- The state of the run does not change: its version stays, so that decisions under way still count, and no record is
-- written.
--
-- needs: keys, types, runs
--
-- ARGV[2]  task id
-- ARGV[3]  names, JSON: {project = {id, name}, release = {id, version}, ...}
-- ARGV[4]  machines, JSON: [{id, name}, ...]
--
-- Returns {"named"}, or {"unknown"} when nobody knows the run any more.

look_at_types()
local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
for what, thing in pairs(cjson.decode(ARGV[3])) do
    -- The task may have been started anew since, for another release.
    if lower(id_of(run.info, what) or "") == lower(thing.id) then
        run.info[what] = thing
    end
end
call("HSET", RUNS, lower(run.id), cjson.encode(run))
local machines = cjson.decode(ARGV[4])
for _, machine in ipairs(machines) do
    call("HSET", MACHINES, lower(machine.id), cjson.encode(machine))
end
note_unrecorded(run, #machines > 0 and 2 or 1)
return { "named" }
