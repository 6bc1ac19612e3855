-- close.lua: close the board: grant nobody until it is known anew which run works where (rule 15). Holders go on.
--
-- needs: keys, types, due, witness, lines
--
-- ARGV[2]  who and why, JSON: by, reason
-- ARGV[3]  cause     operator, or unwitnessed: not all have spoken in the roll call that the caller knows of
-- ARGV[4]  called    of the latter, ms when the roll was called
--
-- Returns {"closed"}, or {"already"}.

look_at_types()
expire_due()
local detail, cause = cjson.decode(ARGV[2]), ARGV[3]
local closed_at, closed_cause = unpack(call("HMGET", COUNTERS, "closed_at", "closed_cause"))
local is_called = closed_cause == "roll_call" and closed_at == ARGV[4]
if cause == "unwitnessed" and is_called then
    detail.missing = call("ZRANGEBYSCORE", PROCESSES, 0, 0)
elseif cause == "unwitnessed" or not IS_OPEN then
    return { "already" }
end
close_board(cause, detail)
return { "closed" }
