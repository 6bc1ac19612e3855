-- lib/flaws.lua: what does not agree among the keys of the board, and the ways to put it right (audit.lua).
--
-- needs: keys, changes, runs, work

-- Whether flaws are put right, and all that there are: {code, task id or "", machines, what}.
local is_repair, flaws = false, {}

-- *run*: its record, or nil; *what*: the key or the kind of deadline that it is about.
local function flaw(code, task, run, machines, what, repair)
    flaws[#flaws + 1] = { code, task, machines or {}, what or "" }
    if is_repair then
        repair()
        record("repaired", run, machines, code, { task = not run and task ~= "" and task or nil, what = what })
    end
end

-- Have the lines of machines looked at, by the next script.
local function leave_heads(machines)
    for _, machine in ipairs(machines) do
        put("head", lower(machine))
    end
    work_off(-1)
end

local function id_at(machine)
    local raw = call("HGET", MACHINES, machine)
    return raw and cjson.decode(raw).id or machine
end

-- The machines of *members*, with ids as Octopus writes them; each once.
local function machines_at(members)
    local machines, seen = {}, {}
    for _, member in ipairs(members) do
        local machine = string.match(member, "^(.-)%z")
        if not seen[machine] then
            seen[machine] = true
            machines[#machines + 1] = id_at(machine)
        end
    end
    return machines
end

-- Of the members that are there, or ought to be, those that are *strays*, and the machines that are *missing*.
local function compare_members(key, members, ought)
    local strays, missing = {}, {}
    for _, member in ipairs(members or {}) do
        if not ought[member] and call("ZSCORE", key, member) then
            strays[#strays + 1] = member
        end
    end
    for member, machine in pairs(ought) do
        if not call("ZSCORE", key, member) then
            missing[#missing + 1] = machine
        end
    end
    table.sort(missing)
    return strays, missing
end

local function remove(key, members)
    for _, member in ipairs(members) do
        call("ZREM", key, member)
    end
end

-- True: it must be there; nil: it may; false: it must not.
local function ought_if(must, may)
    if must then
        return true
    elseif may then
        return nil
    end
    return false
end

-- What a run ought to have, or not to have, in a key beside its record. nil: both are right.
local function audit_entry(task, run, key, is_there, ought, add, take_out)
    if ought == nil or is_there == ought then
        return
    end
    local repair = ought and add or take_out
    flaw(ought and "no_entry" or "stray_entry", task, run, nil, key, function()
        repair()
        note_change()
    end)
end

local function zset_entry(task, run, name, key, member, ought, score)
    audit_entry(task, run, name, call("ZSCORE", key, member) ~= false, ought, function()
        call("ZADD", key, score or 0, member)
    end, function()
        call("ZREM", key, member)
    end)
end

-- Members of a run, in a key of many, that are not the one which it ought to have.
local function strays_of(task, run, name, key, members, own)
    for _, member in ipairs(members or {}) do
        if member ~= own then
            zset_entry(task, run, name, key, member, false)
        end
    end
end

-- Types of what is behind a prefix (lib/keys.lua); of several prefixes that a name has the first one counts.
local PREFIXES = {
    { INDEX .. "run:", list = true },
    { INDEX, stream = true },
    { PLAN, hash = true, string = true },
}

-- Whether there is something behind a prefix that no script has put there: what was noted may be gone since.
local function is_foreign(key)
    local kind = call("TYPE", key).ok
    for _, types in ipairs(kind ~= "none" and PREFIXES or {}) do
        if string.sub(key, 1, #types[1]) == types[1] then
            return not types[kind] or (kind == "hash" and string.sub(key, -5) == "\0asks")
        end
    end
    return false
end
