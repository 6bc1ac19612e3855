-- carry_on.lua: do a share of the work that was left, and of what is due (rule 23).
--
-- needs: keys, due, lines
--
-- Returns {"more"} when work is left, or {"done"}; also while the board is closed, since all is looked at when it opens.

expire_due()
return { IS_OPEN and call("ZCOUNT", DEADLINES, "-inf", 2) > 0 and "more" or "done" }
