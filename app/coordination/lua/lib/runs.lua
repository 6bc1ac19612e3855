-- lib/runs.lua: runs as JSON values, timeline records, and notifications of waiting clients.
--
-- needs: clock, keys

local function load_run(task)
    local raw = call("HGET", RUNS, lower(task))
    return raw and cjson.decode(raw)
end

-- The version *v* tells a caller who decides on a run read a while ago that the run has changed since.
local function save_run(run)
    run.v = (run.v or 0) + 1
    call("HSET", RUNS, lower(run.id), cjson.encode(run))
end

local function span(machine)
    return "[" .. machine .. "\0", "(" .. machine .. "\1"
end

local function line_member(run, machine)
    return lower(machine) .. "\0" .. run.order .. "\0" .. run.id
end

local function holder_member(kind, run, machine)
    return lower(machine) .. "\0" .. kind .. "\0" .. run.id
end

-- Id of the next timeline record, from the clock. Ids never go back, even when a fail-over brings a server whose clock is
-- behind.
local function next_stamp()
    local last = call("HGET", COUNTERS, "stamp") or "0-0"
    local dash = string.find(last, "-", 1, true)
    local ms, seq = tonumber(string.sub(last, 1, dash - 1)), tonumber(string.sub(last, dash + 1))
    local stamp
    if NOW > ms then
        stamp = string.format("%.0f-0", NOW)
    else
        stamp = string.format("%.0f-%d", ms, seq + 1)
    end
    call("HSET", COUNTERS, "stamp", stamp)
    return stamp
end

local function id_of(info, what)
    local thing = info and info[what]
    return type(thing) == "table" and type(thing.id) == "string" and thing.id ~= "" and thing.id or nil
end

-- Rule 16: the record of a change, in the same step as the change. *detail* is a table or nil.
local function record(kind, run, machines, cause, detail)
    local fields = { "kind", kind }
    local function add(name, value)
        if value and value ~= "" then
            fields[#fields + 1] = name
            fields[#fields + 1] = value
        end
    end
    add("task", run and run.id)
    add("run", run and run.run)
    add("machines", machines and table.concat(machines, ","))
    local project = id_of(run and run.info, "project")
    add("project", project)
    local environment = id_of(run and run.info, "environment")
    add("environment", environment)
    add("cause", cause)
    add("detail", detail and next(detail) and cjson.encode(detail))
    local stamp = next_stamp()
    call("XADD", TIMELINE, stamp, unpack(fields))
    if run then
        -- The index of a run is a list, since a stream takes some kilobytes even for a few records.
        call("RPUSH", INDEX .. "run:" .. lower(run.id), stamp)
        if project then
            call("XADD", INDEX .. "project:" .. lower(project), stamp, "", "")
        end
        if environment then
            call("XADD", INDEX .. "environment:" .. lower(environment), stamp, "", "")
        end
    end
    for _, machine in ipairs(machines or {}) do
        call("XADD", INDEX .. "machine:" .. lower(machine), stamp, "", "")
    end
end

local function register_machine(machine)
    call("HSETNX", MACHINES, lower(machine), cjson.encode({ id = machine }))
end

-- Wake the clients that wait for a run: the list wakes one that blocks on Redis, the channel a web process that blocks for
-- its clients.
local function wake(run)
    local list = WAKE .. run.id
    call("DEL", list)
    call("RPUSH", list, run.state)
    call("PEXPIRE", list, math.max(60000, run.ttl_ms or 0))
    call("PUBLISH", WAKES, lower(run.id))
end

