-- watched.lua: the runs that make a machine busy for which others wait.
--
-- needs: keys, due, lines
--
-- ARGV[2]  most  how many machines with a line are looked at
--
-- Returns {"watched", task id, ...}: each run once. The cost grows with the machines that have a line, not with the lengths
-- of the lines.

expire_due()
local tasks, seen, from = { "watched" }, {}, "-"
for _ = 1, tonumber(ARGV[2]) do
    local member = call("ZRANGEBYLEX", LINES, from, "+", "LIMIT", 0, 1)[1]
    if not member then
        break
    end
    local machine = string.match(member, "^(.-)%z")
    for _, other in ipairs(busy_with(machine)) do
        if not seen[other[2]] then
            seen[other[2]] = true
            tasks[#tasks + 1] = other[2]
        end
    end
    from = "[" .. machine .. "\1"
end
return tasks
