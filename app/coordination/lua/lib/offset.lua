-- lib/offset.lua: what the clock of Octopus is ahead of ours, between two bounds (rule 17).
--
-- An answer of Octopus bounds it on both sides, since it says the time and was made while somebody waited for it. A webhook
-- says when it was sent, and came later: that bounds it from below only, and of many the one that came soonest says most.
-- It counts where no answer says anything, that is without an API key.
--
-- needs: clock, keys

-- How far two clocks may go apart in a ms since they were compared; an answer of a day ago says nothing any more.
local OCTOPUS_DRIFT, ANSWER_MS = 0.0005, 86400000

-- How long the webhook that came soonest was under way at most, ms; and for how long it counts, and once more as long: the
-- clock of Octopus can be set back.
local WAY_MS, SOONEST_MS = 2000, 600000

-- What it can be ahead or behind: time that is wrong by more was not told by a clock.
local MAX_OFFSET_MS = 3600000

-- The two bounds, ms, and how they are known: "answer", "webhook" or "assumed".
local function octopus_offset()
    local least, most, at, soonest, before =
        unpack(call("HMGET", COUNTERS, "offset_least", "offset_most", "offset_at", "soonest", "soonest_before"))
    if least and NOW - at < ANSWER_MS then
        local drift = math.max(0, NOW - at) * OCTOPUS_DRIFT
        return least - drift, most + drift, "answer"
    end
    if soonest then
        local ahead = math.max(soonest, before or soonest)
        return ahead, ahead + WAY_MS, "webhook"
    end
    return 0, 0, "assumed"
end

-- Note when a webhook was sent that has come now.
local function note_sending(sent_ms)
    local ahead = sent_ms - NOW
    if math.abs(ahead) > MAX_OFFSET_MS then
        return
    end
    local soonest, since = unpack(call("HMGET", COUNTERS, "soonest", "soonest_since"))
    if not since or math.abs(NOW - since) > SOONEST_MS then
        call("HSET", COUNTERS, "soonest", ahead, "soonest_since", NOW, "soonest_before", soonest or ahead)
    elseif ahead > tonumber(soonest) then
        call("HSET", COUNTERS, "soonest", ahead)
    end
end
