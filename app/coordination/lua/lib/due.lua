-- lib/due.lua: in the place of lib/expiry.lua, for a verb that builds on little of the library while nothing is due.
--
-- Where a deadline has passed, or the board is closed, the script changes nothing and answers {"due"}. The loader then
-- calls the text of the verb that has lib/expiry.lua instead of this part.
--
-- needs: clock, keys

if call("ZCOUNT", DEADLINES, "-inf", NOW) > 0 or not OPENED_AT then
    return { "due" }
end

local function expire_due(is_own)
    -- Nothing is due.
end

