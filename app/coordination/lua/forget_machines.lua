-- forget_machines.lua: forget machines that nobody holds, wants or has reserved, and that no record has named for long.
--
-- needs: clock, keys, types, runs, lines
--
-- ARGV[2]  machines (lower-case ids), JSON
-- ARGV[3]  retention, ms
--
-- Returns {"forgot", how many}.

look_at_types()
local count, old = 0, NOW - tonumber(ARGV[3])
for _, machine in ipairs(cjson.decode(ARGV[2])) do
    local from, to = span(machine)
    local index = INDEX .. "machine:" .. machine
    local records = unless_foreign(index, redis.pcall("XREVRANGE", index, "+", "-", "COUNT", 1))
    local newest = records and records[1]
    local is_old = records and (not newest or tonumber(string.match(newest[1], "^%d+")) < old)
    if is_old and is_free(machine) and call("ZLEXCOUNT", LINES, from, to) == 0 then
        count = count + call("HDEL", MACHINES, machine)
    end
end
return { "forgot", count }
