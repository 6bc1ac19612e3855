-- prioritize.lua: change the priority of a waiting run; among equal priorities the order of arrival stays.
--
-- needs: types, due, runs, lines, work, circles, grants, view
--
-- ARGV[2]  task id
-- ARGV[3]  priority, higher is sooner
-- ARGV[4]  who and why, JSON: by, reason
--
-- Returns {"prioritized", view...}, {"not_waiting", state}, {"unknown"}, or {"circle", edges JSON}, and nothing changed,
-- when the run would then wait for itself (rule 10).

look_at_types()
expire_due()
local run = load_run(ARGV[2])
if not run then
    return { "unknown" }
end
if run.state ~= "waiting" then
    return { "not_waiting", run.state }
end
local arrival = string.sub(run.order, 11)
local detail = cjson.decode(ARGV[4])
detail.from, detail.to = run.priority, tonumber(ARGV[3])
local function move(priority)
    spend(2 * MOVE * #run.machines)
    leave_lines(run)
    run.priority = priority
    run.order = string.format("%010d", 5000000000 - run.priority) .. arrival
    line_up(run)
    save_run(run)
end
move(detail.to)
local circle = circle_of(run)
if circle then
    move(detail.from)
    return { "circle", cjson.encode(circle) }
end
record("prioritized", run, run.machines, nil, detail)
-- The run may be ready now, or another one that was behind it.
grant_heads(run.machines)
return view("prioritized", run)
