-- find_records.lua: some records by their ids.
--
-- KEYS[1]  timeline  stream  every change
-- ARGV[1]  ids, JSON
--
-- Returns {"found", {{id, fields}}, ...}, in the order of the ids: an empty list for one that has been trimmed.

local found = { "found" }
for _, id in ipairs(cjson.decode(ARGV[1])) do
    found[#found + 1] = redis.call("XRANGE", KEYS[1], id, id)
end
return found
