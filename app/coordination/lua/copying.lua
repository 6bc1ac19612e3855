-- copying.lua: write something behind the grants of runs, so that who has this has the grants as well.
--
-- needs: clock, keys, types, runs
--
-- ARGV[2]  the grants, JSON: [[task id, fencing token], ...]; of none, what is written is all that it is for
--
-- Returns {"written", task id, ...}: those runs that hold by that token here.

look_at_types()
call("HSET", COUNTERS, "copying_at", NOW)
local answer = { "written" }
for _, grant in ipairs(cjson.decode(ARGV[2])) do
    local run = load_run(grant[1])
    if run and run.state == "granted" and run.token == grant[2] then
        answer[#answer + 1] = grant[1]
    end
end
return answer
