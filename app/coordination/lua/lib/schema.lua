-- lib/schema.lua: the version of the data, and which octowait may still write them.
--
-- A change of what a key, a member or a field means counts SCHEMA up, if an older octowait could not go on with it, or would
-- take it for a flaw (audit.lua): a kind of member that it does not know, or a member that it does not expect there. In the
-- release of that change both write, side by side; the next one sets OLDEST_WRITER to the version that all have by then, and
-- OLDEST_RELEASE to the octowait that it came with. Who serves notes them (sweep.lua), and who is older changes nothing.
-- app/store/schema.py has the same number.

local SCHEMA, OLDEST_WRITER, OLDEST_RELEASE = 1, 1, "0.1.0"

-- What a script answers, with nothing changed, where only a later octowait may write; nil where this one may.
-- *oldest*: what *counters* say.
local function refusal_by(oldest, counters)
    if oldest and (tonumber(oldest) or math.huge) > SCHEMA then
        return { "newer", oldest, redis.call("HGET", counters, "oldest_release") or "" }
    end
end

