-- sweep.lua: handle deadlines, forget runs that are older than the retention, and notice outages of octowait.
--
-- needs: clock, schema, keys, types, due, runs, lines
--
-- ARGV[2]  "1" when this is the sweep of somebody who serves waiters, so that a long gap since the last was an outage
-- ARGV[3]  retention, ms
-- ARGV[4]  replicas that must have a grant before it is told; noted of somebody who serves
-- ARGV[5]  process  the id of who serves
--
-- Returns {"swept", how much more is due, parked runs to be answered, "open" or why it is closed, since when and for how
-- long, ms, how many changes are lost, how many processes have not spoken yet in a roll call, "outage" or "served"}.

look_at_types()
local served_at, outage = tonumber(call("HGET", COUNTERS, "served_at") or NOW), "served"
if ARGV[2] == "1" then
    if NOW - served_at > OUTAGE_MS then
        call("HSET", COUNTERS, "outage_at", NOW)
        record("outage_ended", nil, nil, nil, { away_ms = NOW - served_at })
        outage = "outage"
    end
    call("HSET", COUNTERS, "served_at", NOW)
    call("HSET", COUNTERS, "replicas", ARGV[4])
    REPLICAS = tonumber(ARGV[4])
    call("ZADD", PROCESSES, NOW, ARGV[5])
    if (tonumber(META[2]) or 0) < SCHEMA then
        call("HSET", COUNTERS, "schema", SCHEMA)
    end
    if (tonumber(META[1]) or 0) < OLDEST_WRITER then
        call("HSET", COUNTERS, "oldest_writer", OLDEST_WRITER, "oldest_release", OLDEST_RELEASE)
    end
end
expire_due(true)

local old = NOW - tonumber(ARGV[3])
for _, task in ipairs(call("ZRANGEBYSCORE", ENDED, "-inf", old, "LIMIT", 0, 100)) do
    local run = load_run(task)
    local info = run and run.info or {}
    for _, id in ipairs({ info.deployment_id or false, info.runbook_run_id or false }) do
        if id then
            call("HDEL", ALIASES, lower(id))
        end
    end
    if run then
        call("ZREM", RESUMES, run.id)
    end
    call("HDEL", RUNS, task)
    call("DEL", INDEX .. "run:" .. task)
    call("ZREM", ENDED, task)
end
call("ZREMRANGEBYSCORE", EVENTS, 0, old)
-- Of those that were about no run.
call("ZREMRANGEBYSCORE", EVENTS, -(NOW - 86400000), "(0")
local closed_at, cause = unpack(call("HMGET", COUNTERS, "closed_at", "closed_cause"))
local lost = tonumber(call("HGET", COUNTERS, "lost") or 0)
return {
    "swept", IS_OPEN and call("ZCOUNT", DEADLINES, "-inf", NOW) or 0, call("ZCOUNT", RESUMES, "-inf", NOW),
    IS_OPEN and "open" or cause or "empty", IS_OPEN and 0 or tonumber(closed_at), IS_OPEN and 0 or math.max(0, NOW - closed_at),
    lost, call("ZCOUNT", PROCESSES, 0, 0), outage,
}
