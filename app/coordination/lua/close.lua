-- close.lua: close the board: grant nobody until it is known anew which run works where (rule 15). Holders go on.
--
-- needs: due, witness, lines
--
-- ARGV[2]  who and why, JSON: by, reason
--
-- Returns {"closed"}, or {"already"}.

expire_due()
if not IS_OPEN then
    return { "already" }
end
close_board("operator", cjson.decode(ARGV[2]))
return { "closed" }
