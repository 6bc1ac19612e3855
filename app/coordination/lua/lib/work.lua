-- lib/work.lua: what follows from a change, in slices: no script keeps the server for long (rule 23).
--
-- A script makes its own change at once: one run joins, is granted or ends, on all of its machines. Who may start now, and
-- who waits for himself now, is looked at afterwards. Such a look is right whenever it comes, and until it comes machines
-- are free that could be busy, never the other way round; so what takes too long is left to the scripts that follow, as
-- deadlines that have always passed. Whoever leaves work calls `carry_on` until none is left. A script does a share of what
-- others have left before its own work, but nothing about a run with many machines: that takes as long as all that it may do.
--
-- head NUL machine     whether the first of its line may start; behind a second NUL since when it was presumed busy, ms, and
--                      behind a third one the waiter that this has delayed until it is looked at
-- heads NUL since      the same of many machines: since when, or ""; behind a second NUL a waiter that was looked at last and may
--                      not start, or ""; and behind a third one the machines with commas, each with the waiter that this has
--                      delayed, if there is one, behind a NUL
-- lines NUL machine    the same at all machines behind that one
-- families NUL number  which waiting children may start, of all families behind that one
-- children NUL family  which waiting children of the family may start; behind a second NUL, of those after a task
-- circles NUL family   which waiting children of the family wait for themselves; the same, of those after an order
-- circle NUL task      whether a run that is no child does
--
-- needs: keys, bulk

-- Kinds of work, in order, and the scores of what is left of it.
local KINDS = { "head", "heads", "lines", "families", "children", "circles", "circle" }
local SCORES = { head = 0, heads = 0, lines = 0, families = 1, children = 1, circles = 2, circle = 2 }

-- Work of one script before it leaves the rest, and what it does of what others have left or missed: some 10 and 5 ms. The
-- unit is what it takes to look at one machine, or one run, 2 to 4 µs.
local SLICE, SHARE = 3000, 1500

-- The same of a script that has work of its own, some 1 ms: whoever waits for a hand-off waits for several of those.
local BESIDE_OWN = math.min(SHARE, 300)

-- Units that it takes to move a run on one machine: its place, its hold, and the record of it.
local MOVE = 4

local work = 0

-- Units that a script may spend besides to look at who holds, once: else it would do little more than look, again and again.
local MOST_LOOKS = 3000
local looks = 0

local function spend(units)
    work = work + units
end

local function spend_looks(units)
    work, looks = work + units, math.min(looks + units, MOST_LOOKS)
end

-- kind -> ids in order; kind -> up to where they are done; and what is on the agenda, as it is left.
local agenda, done_up_to, is_on_agenda = {}, {}, {}
for _, kind in ipairs(KINDS) do
    agenda[kind], done_up_to[kind] = {}, 0
end

-- kind -> function(id) that does such a piece of work.
local doing = {}

-- Set while work waits for the end of others, and while it is done; set once this script has left work, of which the loader
-- tells its caller (app/store/scripts.py); and how much may be done now.
local is_held_back, has_left, limit = false, false, SLICE

-- Set while a script that has work of its own does a share of that of others.
local is_beside_own = false

-- Whether what becomes of a run is too much for a share: it is left to who does nothing else, `carry_on` and the sweep.
local function is_too_wide(run)
    local most = math.max(#(run.machines or {}), #(run.presumed or {}), #(run.planned or {}))
    return is_beside_own and MOVE * most > BESIDE_OWN
end

local function is_enough()
    return work > limit + looks
end

-- How many are on the agenda.
local waiting_work = 0

local function put(kind, id)
    local member = kind .. "\0" .. id
    if not is_on_agenda[member] then
        is_on_agenda[member] = true
        table.insert(agenda[kind], id)
        waiting_work = waiting_work + 1
    end
end

local function take()
    if waiting_work == 0 then
        return nil
    end
    for _, kind in ipairs(KINDS) do
        local id = agenda[kind][done_up_to[kind] + 1]
        if id then
            done_up_to[kind] = done_up_to[kind] + 1
            is_on_agenda[kind .. "\0" .. id] = nil
            waiting_work = waiting_work - 1
            return kind, id
        end
    end
end

-- Do what is on the agenda, until *up_to* units of work are done in this script, and leave the rest; also what this script
-- has no function for, since only those that end runs refuse one.
local function work_off(up_to)
    if is_held_back then
        return
    end
    is_held_back, limit = true, up_to
    local left = {}
    local function leave(kind, id)
        has_left = true
        left[#left + 1] = SCORES[kind]
        left[#left + 1] = kind .. "\0" .. id
    end
    while not is_enough() do
        local kind, id = take()
        if not kind then
            break
        end
        local work_on = doing[kind]
        if work_on then
            work_on(id)
        else
            leave(kind, id)
        end
    end
    is_held_back = false
    local kind, id = take()
    while kind do
        leave(kind, id)
        kind, id = take()
    end
    in_bulk("ZADD", DEADLINES, left)
end
