-- open.lua: open the board: grant again, now that it is known which run works where (rule 15).
--
-- Runs that joined a closed board did so in the order in which they happened to ask again. They are put into the order in
-- which Octopus started them, behind earlier waiters. The cost grows with the number of waiters.
--
-- needs: clock, keys, runs, witness, lines, grants, ends, expiry
--
-- ARGV[2]  cause   rebuilt | no_api_key | operator | test
-- ARGV[3]  detail  JSON: by, reason, and what else the record shall say
-- ARGV[4]  closed  ms since when it was closed as the caller knows it, or "": whenever that was
--
-- Returns {"opened"}, {"already"}, or {"late"} when the board was closed anew since: Redis may have been lost again.

expire_due()
if IS_OPEN then
    return { "already" }
end
local closed_ms = tonumber(call("HGET", COUNTERS, "closed_at"))
if ARGV[4] ~= "" and tonumber(ARGV[4]) ~= closed_ms then
    return { "late" }
end
-- A closed board ends nothing that is due: the dead go before anybody is granted.
while call("ZCOUNT", DEADLINES, "-inf", NOW) > 0 do
    end_due()
end
local runs, seen, machines = {}, {}, {}
for _, member in ipairs(call("ZRANGE", LINES, 0, -1)) do
    local machine, task = string.match(member, "^(.-)%z.-%z(.*)$")
    if machines[#machines] ~= machine then
        machines[#machines + 1] = machine
    end
    if not seen[task] then
        seen[task] = true
        runs[#runs + 1] = load_run(task)
    end
end
local function began(run)
    return run.requested_at_ms >= closed_ms and (run.started_oct_ms or run.requested_at_ms) or 0
end
table.sort(runs, function(one, other)
    if began(one) ~= began(other) then
        return began(one) < began(other)
    end
    -- By arrival alone: the priority has its own place in the order, and can still change.
    return string.sub(one.order, 11) < string.sub(other.order, 11)
end)
for _, run in ipairs(runs) do
    for _, machine in ipairs(run.machines) do
        call("ZREM", LINES, line_member(run, machine))
    end
    run.order = string.sub(run.order, 1, 10) .. string.format("%016d", call("HINCRBY", COUNTERS, "order", 1))
    for _, machine in ipairs(run.machines) do
        call("ZADD", LINES, 0, line_member(run, machine))
    end
    save_run(run)
end
local detail = cjson.decode(ARGV[3])
if #runs > 0 then
    detail.order = {}
    for number, run in ipairs(runs) do
        detail.order[number] = run.id
    end
end
detail.closed_ms = math.max(0, NOW - closed_ms)
detail.lost = tonumber(call("HGET", COUNTERS, "lost") or nil)
end_epoch()
call("HDEL", COUNTERS, "closed_at", "closed_cause", "lost")
call("HSET", COUNTERS, "opened_at", NOW)
IS_OPEN = true
record("opened", nil, nil, ARGV[2], detail)
grant_heads(machines)
local family
for _, member in ipairs(call("ZRANGE", CHILDREN, 0, -1)) do
    local number = tonumber(string.sub(member, 1, 16))
    if number ~= family then
        family = number
        -- The order of the children has changed.
        refuse_circles(family)
    end
end
return { "opened" }
