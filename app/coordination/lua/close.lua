-- close.lua: close the board: grant nobody until it is known anew which run works where (rule 15). Holders go on.
--
-- needs: clock, keys, due, runs, lines
--
-- ARGV[2]  who and why, JSON: by, reason
--
-- Returns {"closed"}, or {"already"}.

expire_due()
if not IS_OPEN then
    return { "already" }
end
call("HDEL", COUNTERS, "opened_at")
call("HSET", COUNTERS, "closed_at", NOW)
record("closed", nil, nil, "operator", cjson.decode(ARGV[2]))
return { "closed" }
