-- lib/beside.lua: in front of each script that writes keys beside those of the board: nothing in the data of a later octowait.
--
-- KEYS[#KEYS]  counters  hash  of the board, as lib/keys.lua says; the loader adds it
--
-- needs: schema

do
    local refusal = refusal_by(redis.call("HGET", KEYS[#KEYS], "oldest_writer"), KEYS[#KEYS])
    if refusal then
        return refusal
    end
end

