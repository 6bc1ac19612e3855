-- name.lua: remember what people call the things of a run whose ids are known already.
--
-- No change of its state: it keeps its version, so that what somebody is deciding about it still counts, and writes no
-- record.
--
-- needs: keys, runs
--
-- ARGV[2]  task id
-- ARGV[3]  names, JSON: {project = {id, name}, release = {id, version}, ...}
-- ARGV[4]  machines, JSON: [{id, name}, ...]
--
-- Returns {"named"}, or {"unknown"} when nobody knows the run any more.

local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
for what, thing in pairs(cjson.decode(ARGV[3])) do
    -- The task may have been started anew since, for another document.
    if lower(id_of(run.info, what) or "") == lower(thing.id) then
        run.info[what] = thing
    end
end
call("HSET", RUNS, lower(run.id), cjson.encode(run))
for _, machine in ipairs(cjson.decode(ARGV[4])) do
    call("HSET", MACHINES, lower(machine.id), cjson.encode(machine))
end
return { "named" }
