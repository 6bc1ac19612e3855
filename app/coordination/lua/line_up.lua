-- line_up.lua: put waiting runs behind all others, in the order given, while the board is closed (rule 15).
--
-- needs: keys, types, runs, lines
--
-- ARGV[2]  closed   ms since when the board has been closed, as the caller knows it
-- ARGV[3]  arrival  the number of the last arrival as the caller knows it, or "": whoever came since
-- ARGV[4]  task ids, JSON
--
-- Returns {"lined_up", the number of the last arrival now}, {"joined"} when somebody has joined since, or {"late"} when the
-- board is open, or was closed anew.

look_at_types()
local is_closed = call("HEXISTS", COUNTERS, "opened_at") == 0
if not is_closed or tonumber(call("HGET", COUNTERS, "closed_at")) ~= tonumber(ARGV[2]) then
    return { "late" }
end
if ARGV[3] ~= "" and ARGV[3] ~= (call("HGET", COUNTERS, "order") or "0") then
    return { "joined" }
end
for _, task in ipairs(cjson.decode(ARGV[4])) do
    local run = load_run(task)
    if run and run.state == "waiting" then
        leave_lines(run)
        -- The priority has its own place in the order, and can still change.
        run.order = string.sub(run.order, 1, 10) .. string.format("%016d", call("HINCRBY", COUNTERS, "order", 1))
        line_up(run)
        save_run(run)
    end
end
return { "lined_up", call("HGET", COUNTERS, "order") or "0" }
