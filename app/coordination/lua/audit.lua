-- audit.lua: hold all that is kept of some runs and machines against each other, and put right what does not agree.
--
-- A script changes all of it at once, so it only comes apart where somebody else has changed a key, or a script broke off.
-- The record of a run says where it stands, and the others follow it; but in doubt a machine is busy: of a run that is over
-- as its record says, and holds all the same, Octopus is asked before that ends.
--
-- needs: clock, schema, keys, types, changes, runs, lines, flaws
--
-- ARGV[2]  "look": only say what does not agree, or "repair": put it right as well, each with a record
-- ARGV[3]  runs, JSON: [{task, holders, lines, deadlines, children, owned: the members that name it}, ...]
-- ARGV[4]  machines that are reserved, in lower case, JSON
-- ARGV[5]  members that can name nothing, JSON: [[key, member], ...]; key is lines, holders, deadlines, children or owned
--
-- Returns {"audited", flaws JSON}: [[code, task id or "", machines, what], ...], {"closed"} when the board is rebuilt, or
-- {"later"} where a later octowait writes as well.

look_at_types()
if not call("HGET", COUNTERS, "opened_at") then
    return { "closed" }
end
if (tonumber(META[2]) or 0) > SCHEMA then
    -- What that one keeps besides would be flaws here, and a hold of a kind that nobody here knows would be taken away.
    return { "later" }
end
is_repair = ARGV[2] == "repair"

-- A run that works, for all that is known: its machines are busy until Octopus has said that its task is over.
local function observe_in_doubt(task, run, members)
    local machines = machines_at(members)
    run = run or { id = task, run = 1, info = {}, has_key = true }
    remove(HOLDERS, members)
    run.wait_ended = FINISHED[run.state] and run.state or nil
    run.state, run.machines, run.observed_at_ms, run.end_seen = "observed", machines, NOW, nil
    run.ended_at_ms, run.cause, run.reason, run.refusal, run.by = nil, nil, nil, nil, nil
    register_machines(machines)
    hold("observed", run, machines)
    call("ZREM", ENDED, lower(task))
    save_run(run)
    record("observed", run, machines, "repaired")
end

-- The same of a run whose machines are to be found out.
local function presume_in_doubt(run, members)
    remove(HOLDERS, members)
    local presumed, machines = run.presumed or {}, machines_at(members)
    register_machines(machines)
    hold("provisional", run, machines)
    for _, machine in ipairs(machines) do
        presumed[#presumed + 1] = machine
    end
    run.presumed, run.provisional_at_ms = presumed, run.provisional_at_ms or NOW
    save_run(run)
    record("presumed", run, presumed, "repaired")
end

local HOLD = { granted = "lease", observed = "observed" }

local function audit_holders(task, run, members)
    local ought, kind = {}, run and HOLD[run.state]
    for _, machine in ipairs(kind and run.machines or {}) do
        ought[holder_member(kind, run, machine)] = machine
    end
    for _, machine in ipairs(run and run.presumed or {}) do
        ought[holder_member("provisional", run, machine)] = machine
    end
    local strays, missing = compare_members(HOLDERS, members, ought)
    if #missing > 0 then
        flaw("not_held", task, run, missing, nil, function()
            for member, machine in pairs(ought) do
                register_machines({ machine })
                call("ZADD", HOLDERS, 0, member)
            end
            note_change()
        end)
    end
    if #strays == 0 then
        return
    end
    local machines = machines_at(strays)
    if not run or run.state == "known" or (FINISHED[run.state] and not run.lingers) then
        flaw(run and "holder_is_over" or "holder_without_run", task, run, machines, nil, function()
            observe_in_doubt(task, run, strays)
        end)
    elseif run.state == "started" or run.lingers then
        flaw("stray_holder", task, run, machines, nil, function()
            presume_in_doubt(run, strays)
        end)
    else
        -- It has asked for its machines, or Octopus has listed them.
        flaw("stray_holder", task, run, machines, nil, function()
            remove(HOLDERS, strays)
            note_change()
            leave_heads(machines)
        end)
    end
end

local function add_to_lines(ought, machines)
    for member, machine in pairs(ought) do
        register_machines({ machine })
        call("ZADD", LINES, 0, member)
    end
    note_change()
    leave_heads(machines)
end

local function places_of(run)
    local ought = {}
    for _, machine in ipairs(run and run.state == "waiting" and run.machines or {}) do
        ought[line_member(run, machine)] = machine
    end
    return ought
end

local function audit_lines(task, run, members)
    if run and run.state == "waiting" and not run.order then
        flaw("no_order", task, run, run.machines, nil, function()
            remove(LINES, members or {})
            run.order = string.format("%010d%016d", 5000000000 - (run.priority or 0), call("HINCRBY", COUNTERS, "order", 1))
            save_run(run)
            add_to_lines(places_of(run), run.machines)
        end)
        return
    end
    local ought = places_of(run)
    local strays, missing = compare_members(LINES, members, ought)
    if #missing > 0 then
        flaw("no_place", task, run, missing, nil, function()
            add_to_lines(ought, missing)
        end)
    end
    if #strays > 0 then
        local machines = machines_at(strays)
        flaw("stray_place", task, run, machines, nil, function()
            remove(LINES, strays)
            note_change()
            leave_heads(machines)
        end)
    end
end

local function audit_entries(task, run, members)
    local state = run and run.state or "none"
    local is_waiting = state == "waiting"
    local is_at_step = is_waiting and not run.parked
    audit_entry(task, run, "blocking", call("SISMEMBER", BLOCKING, task) == 1,
        is_at_step and not run.unchecked,
        function() call("SADD", BLOCKING, task) end, function() call("SREM", BLOCKING, task) end)
    local wants = call("HGET", WANTS, task)
    local is_wrong = is_waiting and wants ~= table.concat(run.machines, ",")
    audit_entry(task, run, "wants", wants ~= false and not is_wrong, is_waiting,
        function() note_wants(run) end, function() call("HDEL", WANTS, task) end)
    audit_entry(task, run, "delays", call("HEXISTS", DELAYS, task) == 1, ought_if(false, is_waiting),
        nil, function() call("HDEL", DELAYS, task) end)
    local child = is_waiting and run.family and child_member(run)
    if child then
        zset_entry(task, run, "children", CHILDREN, child, true)
    end
    strays_of(task, run, "children", CHILDREN, members.children, child)
    local owned = is_waiting and run.is_counted and run.owner .. "\0" .. run.id
    if owned then
        zset_entry(task, run, "owned", OWNED, owned, true)
    end
    strays_of(task, run, "owned", OWNED, members.owned, owned)
    local is_known = run ~= nil
    local has_step = is_waiting or state == "granted"
    zset_entry(task, run, "unchecked", UNCHECKED, task, ought_if(has_step and run.unchecked, is_known), NOW)
    local is_sought = is_known and (run.lingers or (state == "started" and not run.planned))
    zset_entry(task, run, "unresolved", UNRESOLVED, task, ought_if(is_sought, is_known), NOW)
    zset_entry(task, run, "resumes", RESUMES, task, ought_if(false, is_known))
    local is_over = FINISHED[state] and not run.lingers
    local is_active = is_waiting or HOLD[state] or state == "started"
    zset_entry(task, run, "ended", ENDED, lower(task), ought_if(is_over, not is_active), run and run.ended_at_ms or NOW)
end

-- Deadlines that a run may have, and when the one would be due that it must have.
local function deadlines_of(run)
    local may, must = {}, {}
    if not run then
        return may, must
    end
    local is_waiting, is_granted = run.state == "waiting", run.state == "granted"
    may.life = (is_waiting and not run.parked) or (is_granted and not run.collected)
    may.timeout, may.hold = is_waiting and run.timeout_at_ms, is_granted and run.max_hold_ms
    may.grace = HOLD[run.state]
    may.provisional, may.expect = run.presumed or run.in_doubt, true
    must.life = may.life and not run.parked and not run.in_doubt and NOW + (run.ttl_ms or 120000) or nil
    must.timeout = may.timeout and run.timeout_at_ms or nil
    must.hold = may.hold and run.granted_at_ms + run.max_hold_ms or nil
    return may, must
end

local function audit_deadlines(task, run)
    local may, must = deadlines_of(run)
    for _, kind in ipairs({ "life", "timeout", "hold", "grace", "provisional", "expect" }) do
        local member = kind .. "\0" .. task
        local is_there = call("ZSCORE", DEADLINES, member) ~= false
        if is_there and not may[kind] then
            flaw("stray_deadline", task, run, nil, kind, function()
                call("ZREM", DEADLINES, member)
            end)
        elseif not is_there and must[kind] then
            flaw("no_deadline", task, run, nil, kind, function()
                call("ZADD", DEADLINES, must[kind], member)
            end)
        end
    end
end

local function audit_numbers(task, run)
    local numbers = {
        order = run.state == "waiting" and run.order and string.sub(run.order, 11),
        token = run.state == "granted" and run.token,
        family = not FINISHED[run.state] and run.family,
    }
    for _, name in ipairs({ "order", "token", "family" }) do
        local given = tonumber(numbers[name] or 0)
        if given > tonumber(call("HGET", COUNTERS, name) or 0) then
            flaw("counter_behind", task, run, nil, name, function()
                call("HSET", COUNTERS, name, string.format("%.0f", given))
                TOKEN = name == "token" and given or TOKEN
            end)
        end
    end
end

local function audit_machines(task, run)
    local unknown = {}
    for _, machine in ipairs((HOLD[run.state] or run.state == "waiting") and run.machines or run.presumed or {}) do
        if call("HEXISTS", MACHINES, lower(machine)) == 0 then
            unknown[#unknown + 1] = machine
        end
    end
    if #unknown > 0 then
        flaw("unknown_machine", task, run, unknown, nil, function()
            register_machines(unknown)
        end)
    end
end

-- A reservation is a record, a hold, and a deadline if it ends by itself.
local function audit_reservation(machine)
    local raw = call("HGET", RESERVATIONS, machine)
    local member, deadline = machine .. "\0reservation\0", "reservation\0" .. machine
    local is_held = call("ZSCORE", HOLDERS, member) ~= false
    local ends_at = call("ZSCORE", DEADLINES, deadline)
    local until_ms = raw and cjson.decode(raw).until_ms
    if is_held and not raw then
        flaw("reservation_unknown", "", nil, { id_at(machine) }, nil, function()
            local reservation = { id = id_at(machine), since_ms = NOW, by = "octowait", note = "Who reserved it is not known any more." }
            register_machines({ reservation.id })
            call("HSET", RESERVATIONS, machine, cjson.encode(reservation))
            record("reserved", nil, { reservation.id }, "repaired", { by = reservation.by, note = reservation.note })
        end)
    elseif raw and not is_held then
        flaw("reservation_not_held", "", nil, { id_at(machine) }, nil, function()
            register_machines({ id_at(machine) })
            call("ZADD", HOLDERS, 0, member)
            note_change()
        end)
    end
    if until_ms and not ends_at then
        flaw("no_deadline", "", nil, { id_at(machine) }, "reservation", function()
            call("ZADD", DEADLINES, until_ms, deadline)
        end)
    elseif ends_at and not until_ms then
        flaw("stray_deadline", "", nil, { id_at(machine) }, "reservation", function()
            call("ZREM", DEADLINES, deadline)
        end)
    end
end

local MEMBERS_IN = { lines = LINES, holders = HOLDERS, deadlines = DEADLINES, children = CHILDREN, owned = OWNED }

-- What is in its place says nothing: the index goes on with what comes.
local function audit_foreign_key()
    local key = call("HGET", COUNTERS, "foreign_key")
    if key and is_foreign(key) then
        flaw("foreign_key", "", nil, nil, key, function()
            call("DEL", key)
            call("HDEL", COUNTERS, "foreign_key")
        end)
    elseif key and is_repair then
        call("HDEL", COUNTERS, "foreign_key")
    end
end

audit_foreign_key()
for _, named in ipairs(cjson.decode(ARGV[5])) do
    local key, member = MEMBERS_IN[named[1]], named[2]
    if call("ZSCORE", key, member) then
        flaw("malformed", "", nil, nil, named[1] .. ": " .. string.gsub(member, "%z", " NUL "), function()
            call("ZREM", key, member)
        end)
    end
end
for _, machine in ipairs(cjson.decode(ARGV[4])) do
    audit_reservation(machine)
end
for _, entry in ipairs(cjson.decode(ARGV[3])) do
    local run = load_run(entry.task) or nil
    local task = run and run.id or entry.task
    audit_holders(task, run, entry.holders)
    run = load_run(entry.task) or nil
    audit_lines(task, run, entry.lines)
    audit_deadlines(task, run)
    audit_entries(task, run, entry)
    if run then
        audit_numbers(task, run)
        audit_machines(task, run)
    end
end
return { "audited", cjson.encode(flaws) }
