-- carry_on.lua: do a share of the work that was left, and of what is due (rule 23).
--
-- needs: keys, due, lines
--
-- Returns {"more"} when work is left that can be done, or {"done"}: nobody is granted while the board is closed, and all lines
-- are looked at when it opens.

expire_due(true)
return { call("ZCOUNT", DEADLINES, IS_OPEN and "-inf" or 2, 2) > 0 and "more" or "done" }
