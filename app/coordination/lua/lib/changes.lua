-- lib/changes.lua: the number of the last change of who waits, holds, has collected, is parked or paused, and where; and the
-- ids of timeline records, which are written with it.
--
-- Every script that changes something of that takes the next number, once, and a random word of its caller stands with
-- it: two histories that went apart can have the same numbers, not the same words. An epoch is the time from one opening
-- of the board to the next; its id is made of a word as well.
--
-- ARGV[#ARGV]  all between blanks: a random word of the caller, then what is seen of the changes, by the caller or by who
--              speaks through it: epoch, number and word, once, several times, or not at all
--
-- needs: clock, keys

-- Words that are remembered, some 2 MB: those of older numbers are not compared any more.
local MAX_CHANGES = 100000

local WORD = string.match(ARGV[#ARGV], "^%S+")
local EPOCH, NUMBER, LAST_WORD = META[4], tonumber(META[5] or 0), META[6]

local function begin_epoch()
    EPOCH = string.format("%.0f-%s", NOW, WORD)
    call("HSET", COUNTERS, "epoch", EPOCH)
end

-- The last id of a timeline record that was given, once this script has read it; and one for the next record that is written
-- already.
local stamp_ms, stamp_seq, stamp_ahead

-- Id of a timeline record, from the clock. Ids never go back, even when a fail-over brings a server whose clock is behind.
local function later_stamp()
    if not stamp_ms then
        local dash = string.find(STAMP, "-", 1, true)
        stamp_ms, stamp_seq = tonumber(string.sub(STAMP, 1, dash - 1)), tonumber(string.sub(STAMP, dash + 1))
    end
    if NOW > stamp_ms then
        stamp_ms, stamp_seq = NOW, 0
    else
        stamp_seq = stamp_seq + 1
    end
    return string.format("%.0f-%d", stamp_ms, stamp_seq)
end

-- Write counters, names and values in turn, and with them the id of the record that nearly always follows.
local function write_counters(...)
    stamp_ahead = stamp_ahead or later_stamp()
    call("HSET", COUNTERS, "stamp", stamp_ahead, ...)
end

-- Id of the next timeline record.
local function next_stamp()
    if not stamp_ahead then
        write_counters()
    end
    local stamp = stamp_ahead
    stamp_ahead = nil
    return stamp
end

-- Set once this script has taken its number.
local is_numbered = false

local function note_change()
    if is_numbered then
        return
    end
    is_numbered = true
    if not EPOCH then
        begin_epoch()
    end
    NUMBER, LAST_WORD = NUMBER + 1, WORD
    local number = string.format("%.0f", NUMBER)
    write_counters("change", number, "word", WORD)
    call("XADD", CHANGES, "MAXLEN", "~", MAX_CHANGES, number .. "-0", "", WORD)
end

