-- forget_machines.lua: forget machines that nobody holds, wants or has reserved, and that no record has named for long.
--
-- needs: clock, keys, runs, lines
--
-- ARGV[2]  machines (lower-case ids), JSON
-- ARGV[3]  retention, ms
--
-- Returns {"forgot", how many}.

local count, old = 0, NOW - tonumber(ARGV[3])
for _, machine in ipairs(cjson.decode(ARGV[2])) do
    local from, to = span(machine)
    local newest = call("XREVRANGE", INDEX .. "machine:" .. machine, "+", "-", "COUNT", 1)[1]
    local is_old = not newest or tonumber(string.match(newest[1], "^%d+")) < old
    if is_old and is_free(machine) and call("ZLEXCOUNT", LINES, from, to) == 0 then
        count = count + call("HDEL", MACHINES, machine)
    end
end
return { "forgot", count }
