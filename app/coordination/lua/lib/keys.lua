-- lib/keys.lua: the data model: the keys of the board and their members.
--
-- One run is one JSON value in RUNS. Waits and holds are members of sorted sets whose scores are all 0, so that the head of
-- a line, a place in a line and "is this machine free" are ZRANGEBYLEX and ZLEXCOUNT: log(n) of the number of waiters.
-- Machine ids in members are lower-case, run ids are as Octopus writes them; NUL separates the parts.
--
-- KEYS[1]  prefix  what all keys begin with, e.g. octowait:{default}: . Their names are made of it here: packing and sending
--                  them with every call took as long as a short script.
--
--   runs          hash    task id (lower-case) -> run, JSON
--   lines         zset    machine NUL order NUL task id
--   holders       zset    machine NUL lease|observed|provisional NUL task id, and machine NUL reservation NUL
--   deadlines     zset    life|timeout|hold|grace|provisional|expect NUL task id, reservation NUL machine -> ms;
--                         and work that was left, which is always due (lib/work.lua)
--   reservations  hash    machine -> {id, note, by, since_ms, until_ms}, JSON
--   counters      hash    order, token, family, stamp, served_at, outage_at, opened_at, closed_at, event_at, closed_cause,
--                 shift_ms: what the board's time is ahead of the server's clock, and shift_changes of that;
--                 replicas that must have a grant before it is told, copying_at: written to be copied;
--                 of the last change: epoch, change, word; lost: changes that Redis has lost; server_word: its run id;
--                 unrecorded, unrecorded_run: how many changes have no record, and the run of the last one;
--                 since when and why Octopus does not answer: octopus_since, _why, _failures, _asked, _told;
--                 what its clock is ahead of ours (lib/offset.lua): offset_least, _most, offset_at, soonest, _since, _before;
--                 of the data: schema, oldest_writer, oldest_release (lib/schema.lua);
--                 foreign_key: an index or memory under whose key somebody else has put another type
--   machines      hash    machine -> {id, name}, JSON
--   events        zset    event id -> ms it was first seen; below 0, and for a day only, of those about no run
--   aliases       hash    deployment or runbook run id (lower-case) -> task id
--   unresolved    zset    task id -> ms; observed runs whose machines are not known yet
--   ended         zset    task id (lower-case) -> ms it ended; what retention reads
--   timeline      stream  every change
--   index         prefix  of the record ids by run: (lists), machine:, project: and environment: (streams)
--   wake          prefix  of the wake list of a run
--   wakes         channel the task id of a run that waits no longer
--   blocking      set     task id of each waiter whose step blocks a task slot of Octopus (rule 12)
--   children      zset    family NUL task id of each waiter that shares a lease (rule 10)
--   resumes       zset    task id -> ms to try; parked runs whose intervention is to be answered (rule 11)
--   batches       zset    batch id NUL its events NUL number of this one -> ms it came
--   plan          prefix  of hashes of what the last runs of a process used: space NUL project NUL environment NUL tenant NUL kind
--   ended_claims  zset    task id (lower-case) NUL claim id -> ms; executions of steps that are over
--   old_steps     hash    space NUL project -> {project, space_id, at_ms}, JSON; of those whose step says no version
--   owned         zset    owner NUL task id of each waiter whose owner may have so many only
--   changes       stream  number of a change -> the word of who made it, of the last ones
--   epochs        hash    epoch that is over -> the highest number that was told of it
--   unchecked     zset    task id -> ms; runs that a step has joined, of which Octopus has not said yet what they are
--   wants         hash    task id of each waiter -> the ids of its machines, with commas; also in its record, which is
--                         too long to be read for each of a long line (lib/circles.lua)
--   processes     zset    process that serves -> ms it spoke last; 0 in a roll call until it speaks
--   quotas        hash    day: the number of the day that all else is of; machines NUL owner -> new ones that its runs have
--                         named, bytes NUL owner -> what they have added (lib/quotas.lua)
--   delays        hash    task id of each waiter that was delayed by machines presumed busy -> for how many ms it was, a
--                         blank, and when it asked to wait; its record is too long to be read for each of many machines

-- needs: clock, schema

local RUNS, LINES, HOLDERS, DEADLINES =
    KEYS[1] .. "runs", KEYS[1] .. "lines", KEYS[1] .. "holders", KEYS[1] .. "deadlines"
local RESERVATIONS, COUNTERS, MACHINES, EVENTS =
    KEYS[1] .. "reservations", KEYS[1] .. "counters", KEYS[1] .. "machines", KEYS[1] .. "events"
local ALIASES, UNRESOLVED, ENDED, TIMELINE =
    KEYS[1] .. "aliases", KEYS[1] .. "unresolved", KEYS[1] .. "ended", KEYS[1] .. "timeline"
local INDEX, WAKE, WAKES, BLOCKING =
    KEYS[1] .. "index:", KEYS[1] .. "wake:", KEYS[1] .. "wakes", KEYS[1] .. "blocking"
local CHILDREN, RESUMES, BATCHES, PLAN =
    KEYS[1] .. "children", KEYS[1] .. "resumes", KEYS[1] .. "batches", KEYS[1] .. "plan:"
local ENDED_CLAIMS, OLD_STEPS, OWNED, CHANGES =
    KEYS[1] .. "ended_claims", KEYS[1] .. "old_steps", KEYS[1] .. "owned", KEYS[1] .. "changes"
local EPOCHS, UNCHECKED, WANTS, PROCESSES =
    KEYS[1] .. "epochs", KEYS[1] .. "unchecked", KEYS[1] .. "wants", KEYS[1] .. "processes"
local QUOTAS, DELAYS = KEYS[1] .. "quotas", KEYS[1] .. "delays"

local call = redis.call
local lower = string.lower

-- All that most scripts read of the counters, with one call. Who writes one of them changes what is known of it here.
local META = call("HMGET", COUNTERS, "oldest_writer", "schema", "shift_ms", "epoch", "change", "word", "opened_at", "stamp",
    "token", "replicas")
local OPENED_AT, STAMP, TOKEN, REPLICAS = META[7], META[8] or "0-0", tonumber(META[9] or 0), tonumber(META[10] or 0)

do
    local refusal = refusal_by(META[1], COUNTERS)
    if refusal then
        return refusal
    end
end

-- Rule 17: the board's time is the server's clock plus a shift that undoes its jumps. A script whose caller expects another
-- time changes nothing and answers {"clock"}: the caller then looks whether the clock has jumped, or he was only late.
local SHIFT = tonumber(META[3] or 0)
if EXPECTED_NOW ~= "" and math.abs(SERVER_NOW + SHIFT - tonumber(EXPECTED_NOW)) > tonumber(NOW_SLACK) then
    return { "clock" }
end
NOW = NOW + SHIFT

-- States in which a run neither waits nor makes a machine busy.
local FINISHED = { released = true, left = true, expired = true, timed_out = true, refused = true, ended = true }

-- Runs ahead that a view lists at most, so that a poll costs the same behind ten runs and behind ten thousand.
local MAX_AHEAD = 20

-- Runs that a search for a circle of waits visits at most.
local MAX_SEARCHED = 10000

-- Gap, ms, between two sweeps of processes that serve waiters that counts as an outage of octowait.
local OUTAGE_MS = 10000

