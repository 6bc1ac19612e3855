-- lib/changes.lua: the number of the last change of who waits, holds, has collected, is parked or paused, and where.
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
    NUMBER, LAST_WORD = call("HINCRBY", COUNTERS, "change", 1), WORD
    call("HSET", COUNTERS, "word", WORD)
    call("XADD", CHANGES, "MAXLEN", "~", MAX_CHANGES, string.format("%.0f-0", NUMBER), "", WORD)
end

