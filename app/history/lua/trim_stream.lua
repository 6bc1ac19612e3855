-- trim_stream.lua: take from a stream what is older than a record.
--
-- KEYS[1]  stream  the timeline, or an index of it
-- ARGV[1]  id of the first record that stays
-- ARGV[2]  "1" when the stream goes once it is empty; the next record makes it anew
--
-- Returns {"trimmed"}.

redis.call("XTRIM", KEYS[1], "MINID", "=", ARGV[1])
if ARGV[2] == "1" and redis.call("XLEN", KEYS[1]) == 0 then
    redis.call("DEL", KEYS[1])
end
return { "trimmed" }
