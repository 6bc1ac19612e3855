-- open.lua: open the board: grant again, now that it is known which run works where (rule 15).
--
-- Runs that joined a closed board did so in the order in which they happened to ask again. The caller has put them into the
-- order in which Octopus started them (line_up.lua), behind earlier waiters.
--
-- needs: clock, keys, runs, witness, lines, work, ends, expiry
--
-- ARGV[2]  cause    rebuilt | roll_call | no_api_key | operator | test
-- ARGV[3]  detail   JSON: by, reason, order (task ids, of those who were put in order), and what else the record shall say
-- ARGV[4]  closed   ms since when it was closed as the caller knows it, or "": whenever that was
-- ARGV[5]  arrival  the number of the last arrival as the caller knows it, or "": open it whoever came since
--
-- Returns {"opened"}, {"already"}, {"late"} when the board was closed anew since: Redis may have been lost again, or
-- {"joined"} when somebody has joined since.

expire_due()
if IS_OPEN then
    return { "already" }
end
local closed_ms = tonumber(call("HGET", COUNTERS, "closed_at"))
if ARGV[4] ~= "" and tonumber(ARGV[4]) ~= closed_ms then
    return { "late" }
end
if ARGV[5] ~= "" and ARGV[5] ~= (call("HGET", COUNTERS, "order") or "0") then
    return { "joined" }
end
-- A closed board ends nothing that is due. Whoever is not among the first of the dead ends before he would be granted.
end_due(SHARE)
local detail = cjson.decode(ARGV[3])
detail.closed_ms = math.max(0, NOW - closed_ms)
detail.lost = tonumber(call("HGET", COUNTERS, "lost") or nil)
end_epoch()
call("HDEL", COUNTERS, "closed_at", "closed_cause", "lost")
call("HSET", COUNTERS, "opened_at", NOW)
OPENED_AT = NOW
IS_OPEN = true
record("opened", nil, nil, ARGV[2], detail)
put("lines", "")
local seen = {}
for _, member in ipairs(call("ZRANGE", CHILDREN, 0, -1)) do
    local family = tonumber(string.sub(member, 1, 16))
    if not seen[family] then
        -- The order of the children has changed.
        seen[family] = true
        refuse_circles(family)
    end
end
work_off(SLICE)
return { "opened" }
