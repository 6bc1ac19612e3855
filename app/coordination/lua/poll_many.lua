-- poll_many.lua: the status of each of many runs whose steps ask at the same time.
--
-- needs: due, runs, polls
--
-- ARGV[2]  polls  of each the arguments that poll.lua has, JSON: {{task id, who asks, claim, owner, seen}, ...}
--
-- Returns {"polled", answer...}: for each poll, in order, what poll.lua returns. There are fewer of them where the runs have
-- very many machines: the others are to be asked for again. So are those behind a poll that broke off, whose answer is
-- {"failed"}, and that one alone.

-- Machines of the runs that one script answers about, at most, but for those of the last run: some 10 ms.
local MOST_MACHINES = 1000

expire_due()
local answers, machines = { "polled" }, 0
for _, asks in ipairs(cjson.decode(ARGV[2])) do
    local is_whole, answer = pcall(poll, unpack(asks))
    answers[#answers + 1] = is_whole and answer or { "failed" }
    local run = is_whole and load_run(asks[1])
    machines = machines + (run and #(run.machines or run.presumed or {}) or 0)
    -- Behind a poll that broke off nothing is certain of what this script knows.
    if not is_whole or machines > MOST_MACHINES then
        break
    end
end
return answers
