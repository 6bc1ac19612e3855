-- lib/claims.lua: claims: the execution of a step that a run belongs to, by an id that the step made for itself; and its
-- owner, whose token it has.
--
-- A request can be carried out long after its sender has given it up. The ids of executions that are over, or that another
-- one has followed, are remembered, so that no late request of theirs takes or ends anything.
--
-- needs: clock, keys

-- How long the id of an execution that is over is remembered, ms: 24 hours.
local CLAIM_KEPT_MS = 86400000

-- Ids that are remembered at most, so that nobody who makes up ids fills the memory: some 10 MB. The oldest go first.
local MAX_CLAIMS = 100000

-- Old ids that go when one is added: more than one, so that there are never more than those of a day.
local CLAIMS_AT_ONCE = 10

-- Whether a run belongs to another owner than the one that asks. *owner*: nil or "" of who may do everything. What nobody
-- owns is there for all tokens without limits, whose owner is "*".
local function is_anothers(run, owner)
    return owner ~= nil and owner ~= "" and run.owner ~= owner and run.rival ~= owner
        and (run.owner ~= nil or owner ~= "*")
end

local function claim_member(task, claim)
    return lower(task) .. "\0" .. claim
end

local function is_over(task, claim)
    local at = claim and call("ZSCORE", ENDED_CLAIMS, claim_member(task, claim))
    return at and NOW - at < CLAIM_KEPT_MS
end

-- The ends of a wait whose step fails by them: it may not have heard of its own.
local FAILING_ENDS = { refused = true, timed_out = true }

-- How a wait ended whose run was seen to work on since then, for its own step: the run as it was at that end. Nil of others.
-- Of a wait that timed out it is said that it has left the line: a step that reads "timed out" gives back what its run holds.
local function end_of_wait(run, claim)
    local wait_end = run.state == "observed" and run.claim == claim and FAILING_ENDS[run.wait_ended] and run.wait_end
    if not wait_end then
        return nil
    end
    local ended = {}
    for name, value in pairs(run) do
        ended[name] = value
    end
    ended.state = run.wait_ended == "timed_out" and "left" or run.wait_ended
    for name, value in pairs(wait_end) do
        ended[name] = value
    end
    return ended
end

-- Remember that an execution of a step is over: its requests change nothing from now on.
local function end_claim(task, claim)
    if not claim then
        return
    end
    call("ZADD", ENDED_CLAIMS, NOW, claim_member(task, claim))
    local old = call("ZRANGEBYSCORE", ENDED_CLAIMS, "-inf", NOW - CLAIM_KEPT_MS, "LIMIT", 0, CLAIMS_AT_ONCE)
    if call("ZCARD", ENDED_CLAIMS) - #old > MAX_CLAIMS then
        old = call("ZRANGE", ENDED_CLAIMS, 0, CLAIMS_AT_ONCE - 1)
    end
    if #old > 0 then
        call("ZREM", ENDED_CLAIMS, unpack(old))
    end
end
