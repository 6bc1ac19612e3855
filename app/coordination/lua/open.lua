-- open.lua: grant again, now that it is known who runs where (rule 15).
--
-- The waiters joined anew in the order in which they happened to ask; they start in the order in which Octopus started
-- them. This costs what there are waiters, once after a loss.
--
-- ARGV[2]  cause   rebuilt | no_api_key | operator | test
-- ARGV[3]  detail  JSON: by, reason, and what else the record shall say
--
-- Returns {"opened"}, or {"already"}.

expire_due()
if IS_OPEN then
    return { "already" }
end
local runs, seen, machines = {}, {}, {}
for _, member in ipairs(call("ZRANGE", LINES, 0, -1)) do
    local machine, task = string.match(member, "^(.-)%z.-%z(.*)$")
    machines[#machines + 1] = machine
    if not seen[task] then
        seen[task] = true
        runs[#runs + 1] = load_run(task)
    end
end
local function began(run)
    return run.started_oct_ms or run.requested_at_ms
end
table.sort(runs, function(one, other)
    if began(one) ~= began(other) then
        return began(one) < began(other)
    end
    return one.order < other.order
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
-- Fencing tokens grow with every grant, also across a loss of all that was counted.
call("HSETNX", COUNTERS, "token", NOW)
local detail = cjson.decode(ARGV[3])
if #runs > 0 then
    detail.order = {}
    for number, run in ipairs(runs) do
        detail.order[number] = run.id
    end
end
detail.closed_ms = NOW - tonumber(call("HGET", COUNTERS, "closed_at"))
call("HDEL", COUNTERS, "closed_at")
call("HSET", COUNTERS, "opened_at", NOW)
IS_OPEN = true
record("opened", nil, nil, ARGV[2], detail)
grant_heads(machines)
return { "opened" }
