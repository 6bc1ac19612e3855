-- close.lua: grant nobody until it has been found out anew who runs where (rule 15). Who holds goes on.
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
