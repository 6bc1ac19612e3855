-- lib/runs.lua: runs as JSON values, timeline records, and notifications of waiting clients.
--
-- One run is one JSON value. Its fields, which app/domain/run.py lists too; false and empty ones may be left out:
--
-- run.id                 its task id, as Octopus writes it
-- run.state              where it stands
-- run.run                which run of its task it is, from 1
-- run.v                  grows with every change, so that whoever decides on what he saw can tell that it has changed since
-- run.info               what people are shown
-- run.machines           the ids of the machines it waits for, holds or uses
-- run.presumed           the machines it is presumed to use while nobody knows (rule 19)
-- run.planned            the machines it will use once it has asked, or does not ask in time
-- run.priority           higher goes first
-- run.order              its place in every line, as text that sorts: priority, then arrival; of a granted run its last one
-- run.parked             its wait is a manual intervention, which uses no task slot (rule 11)
-- run.rebuilt            it waited before all was lost, and was put back in line
-- run.on_behalf_of       the task id of the run that started it (rule 10)
-- run.family             the number of the family with which it shares a lease
-- run.is_parent          a child of its family has named it as the run that started it
-- run.family_word        what its children say to prove that it started them
-- run.claim              the id of the execution of a step that it belongs to, where that has one
-- run.owner              the name of the token of who joined it; "*" where that has no limits
-- run.rival              another owner that may act for it, since nothing decides between the two
-- run.credential         a digest of the claim and the token of its join, by which that stays good for it
-- run.remark             what its step is told besides: a wish that was not granted
-- run.true_space         the space of its task, as Octopus or an event says
-- run.true_project       the project of its task, as Octopus or an event says
-- run.true_slugs         the slugs of both, where identities are signed
-- run.is_counted         it is in OWNED while it waits
-- run.unchecked          Octopus has not said yet whether its task is what its step says
-- run.disowned           it may not name the run that it says has started it
-- run.told               that execution was told of the grant; what it asks from then on collects it
-- run.has_key            an API key was set when it began, so that its machines are found out
-- run.hold_ms            without one: how long its machines are presumed busy
-- run.ttl_ms             how long it stays without a sign of life
-- run.max_hold_ms        how long it may hold
-- run.requested_at_ms    when it asked to wait
-- run.asked_at_ms        when it asked last
-- run.timeout_at_ms      when its wait ends for its own time-out
-- run.delayed_ms         for how long machines that were presumed busy have delayed it
-- run.granted_at_ms      when it was granted
-- run.token              the fencing token of its grant
-- run.granted_change     the number of the change in which it was granted: its step was told, where an answer "granted" has
--                        told it of that change or a later one
-- run.copied             enough replicas have the grant, so that it may be told; where none need it, nobody looks
-- run.collected          its step has heard of the grant
-- run.in_doubt           its step has not come for the grant in its time; that stays until Octopus has said what the task does
-- run.provisional_at_ms  since when its machines are presumed busy
-- run.observed_at_ms     since when it is seen to use its machines
-- run.expected_until_ms  until when it is expected to ask, with octowait's step or gate before it
-- run.start_seen_at_ms   when its start was told, or before
-- run.started_oct_ms     its latest start
-- run.is_resume_first    that start is a resume; the start itself has not been told
-- run.again              its deployment was started before, under another task
-- run.paused             it waits for a person in Octopus
-- run.paused_oct_ms      when its latest pause began
-- run.gave_way           it has lost its machines to a pause
-- run.cancelling_at_ms   since when Octopus tries to cancel it
-- run.lingers            its wait is over, and its task may work all the same
-- run.gave_back          its step has said that it uses its machines no longer, after its wait was over
-- run.is_aborted         its intervention was answered with "Abort"
-- run.ended_at_ms        when its wait or hold ended
-- run.ended_oct_ms       its latest end
-- run.prior_end_oct_ms   the latest end of an earlier run of its task
-- run.end_seen           its end in Octopus has been told
-- run.owes_end           the end of the run before it, which its step told, is still to come from Octopus
-- run.end_event          the end that a webhook told of and Octopus has not confirmed: {id, occurred_ms, outcome}
-- run.outcome            how its task ended: succeeded, failed, canceled, timedout or abandoned
-- run.cause              why its wait or hold ended
-- run.reason             what a person gave as the reason for it
-- run.by                 the person
-- run.refusal            why it may not wait
-- run.after              the state in which it was before it joined again
-- run.wait_ended         the state in which its wait ended, before it was seen to work on
-- run.wait_end           what else was known of that end: {ended_at_ms, cause, reason, by, refusal}
--
-- needs: keys, changes, bulk

-- Task id (lower-case) -> the run, or false: each is decoded once a script, and all of the script has that one table.
local decoded = {}

-- The same -> the JSON of the run as Redis has it.
local texts = {}

local function load_run(task)
    local key = lower(task)
    if decoded[key] == nil then
        local raw = call("HGET", RUNS, key)
        decoded[key], texts[key] = raw and cjson.decode(raw), raw
    end
    return decoded[key]
end

-- Where the value of *name* begins in the record of a run, JSON, or nil; *name* is one that nothing else in a record has. To
-- decode a record takes ten times as long, and with many machines a hundred times: their ids are searched for a letter, not
-- for the quote before it. In a text of a record the quotes would stand behind a backslash.
local function value_at(raw, name)
    local from = 1
    while from do
        local at, last = string.find(raw, name .. '":', from, true)
        if at and string.byte(raw, at - 1) == string.byte('"') then
            return last + 1
        end
        from = last and last + 1
    end
    return nil
end

-- What stands behind *name* in the record of a run, JSON, as far as *pattern* goes, or nil.
local function text_in(raw, name, pattern)
    local at = value_at(raw, name)
    return at and string.match(raw, "^" .. pattern, at)
end

-- A number in the record of a run, which is decoded or JSON, or nil.
local function number_in(entry, name)
    if type(entry) == "table" then
        return entry[name]
    end
    return tonumber(text_in(entry, name, "%d+") or nil)
end

-- The records of runs: decoded where this script has done so, else JSON; false where there is none.
local function records_of(tasks)
    local records, new, keys = {}, {}, {}
    for at, task in ipairs(tasks) do
        local key = lower(task)
        records[at] = decoded[key]
        if records[at] == nil then
            new[#new + 1], keys[#keys + 1] = at, key
        end
    end
    for at, raw in ipairs(values_of(RUNS, keys)) do
        records[new[at]] = raw
    end
    return records
end

-- The version *v* tells a caller who decides on a run read a while ago that the run has changed since.
local function save_run(run)
    note_change()
    local key = lower(run.id)
    run.v = (run.v or 0) + 1
    decoded[key], texts[key] = run, cjson.encode(run)
    call("HSET", RUNS, key, texts[key])
end

-- Note a change of what people are shown of a run that has no record in the timeline, for readers that follow that
-- (app/coordination/snapshot/shared.py). *count* above 1: machines may look different as well.
local function note_unrecorded(run, count)
    call("HINCRBY", COUNTERS, "unrecorded", count)
    call("HSET", COUNTERS, "unrecorded_run", run.id)
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

-- Machines with *tail* behind each: members of LINES or HOLDERS, to be taken out, or with the score before each to be added.
local function members_of(machines, tail, score)
    local members, ids = {}, lower_ids(machines)
    for at = 1, #ids do
        if score then
            members[2 * at - 1], members[2 * at] = score, ids[at] .. tail
        else
            members[at] = ids[at] .. tail
        end
    end
    return members
end

-- Make machines busy with a run: *kind* lease, observed or provisional.
local function hold(kind, run, machines)
    in_bulk("ZADD", HOLDERS, members_of(machines, "\0" .. kind .. "\0" .. run.id, "0"))
end

local function let_go(kind, run, machines)
    in_bulk("ZREM", HOLDERS, members_of(machines, "\0" .. kind .. "\0" .. run.id))
end

local function id_of(info, what)
    local thing = info and info[what]
    return type(thing) == "table" and type(thing.id) == "string" and thing.id ~= "" and thing.id or nil
end

-- What an index, or the memory of a process, answers; nil where somebody else has put another type under its key. That is
-- noted for audit.lua: who waits for machines is not to wait for an index.
local function unless_foreign(key, answer)
    if type(answer) ~= "table" or not answer.err then
        return answer
    elseif not string.find(answer.err, "WRONGTYPE", 1, true) then
        error(answer.err)
    end
    call("HSET", COUNTERS, "foreign_key", key)
    return nil
end

-- *before*: the id of a record before, for which there is no other entry, or "".
local function add_to_index(name, stamp, before)
    local key = INDEX .. name
    local answer = redis.pcall("XADD", key, stamp, "", before)
    if type(answer) == "table" then
        unless_foreign(key, answer)
    end
end

-- Id of a record whose machines are to have one entry in their indexes for it and the next record.
local stamp_before

-- Note the id of a record in the indexes of its machines, each a stream; what an entry has besides is the id of a record
-- before it: much of what it takes to begin to wait on a machine is the entry.
local function index_machines(machines, stamp)
    local before, prefix, pcall = stamp_before or "", INDEX .. "machine:", redis.pcall
    for _, machine in ipairs(lower_ids(machines)) do
        local key = prefix .. machine
        local answer = pcall("XADD", key, stamp, "", before)
        if type(answer) == "table" then
            unless_foreign(key, answer)
        end
    end
    stamp_before = nil
end

local function add_field(fields, name, value)
    if value and value ~= "" then
        fields[#fields + 1] = name
        fields[#fields + 1] = value
    end
end

-- Rule 16: the record of a change, in the same step as the change. *detail* is a table or nil. *is_followed*: the next
-- record is that of another change of the run on the same machines.
local function record(kind, run, machines, cause, detail, is_followed)
    note_change()
    local fields = { "kind", kind }
    add_field(fields, "task", run and run.id)
    add_field(fields, "run", run and run.run)
    add_field(fields, "machines", machines and table.concat(machines, ","))
    local project = id_of(run and run.info, "project")
    add_field(fields, "project", project)
    local environment = id_of(run and run.info, "environment")
    add_field(fields, "environment", environment)
    add_field(fields, "cause", cause)
    add_field(fields, "detail", detail and next(detail) and cjson.encode(detail))
    local stamp = next_stamp()
    call("XADD", TIMELINE, stamp, unpack(fields))
    if run then
        -- The index of a run is a list, since a stream takes some kilobytes even for a few records.
        local key = INDEX .. "run:" .. lower(run.id)
        unless_foreign(key, redis.pcall("RPUSH", key, stamp))
        if project then
            add_to_index("project:" .. lower(project), stamp, "")
        end
        if environment then
            add_to_index("environment:" .. lower(environment), stamp, "")
        end
    end
    if is_followed then
        stamp_before = stamp
    else
        index_machines(machines or {}, stamp)
    end
end

local function register_machines(machines)
    local ids, new = lower_ids(machines), {}
    for at, known in ipairs(values_of(MACHINES, ids)) do
        if not known then
            new[#new + 1] = ids[at]
            new[#new + 1] = '{"id":' .. cjson.encode(machines[at]) .. "}"
        end
    end
    in_bulk("HSET", MACHINES, new)
end

-- Whether nobody may be told of the grant of a run yet: too few replicas have it.
local function is_uncopied(run)
    return run.state == "granted" and not run.copied and REPLICAS > 0
end

-- Wake the clients that wait for a run: the list wakes one that blocks on Redis, the channel a web process that blocks for
-- its clients, and has a grant copied before it tells of that.
local function wake(run)
    local list = WAKE .. run.id
    call("DEL", list)
    if not is_uncopied(run) then
        call("RPUSH", list, run.state)
        call("PEXPIRE", list, math.max(60000, run.ttl_ms or 0))
    end
    call("PUBLISH", WAKES, lower(run.id))
end

