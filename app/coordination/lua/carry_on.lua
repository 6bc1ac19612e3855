-- carry_on.lua: do a share of the work that was left, and of what is due (rule 23).
--
-- needs: clock, keys, due, lines
--
-- Returns {"more"} when there is more to do, or {"done"}: while the board is closed nobody is granted and nothing ends, and all
-- lines are looked at when it opens; only circles are searched.

expire_due(true)
local first, last = IS_OPEN and "-inf" or 2, IS_OPEN and NOW or 2
return { call("ZCOUNT", DEADLINES, first, last) > 0 and "more" or "done" }
