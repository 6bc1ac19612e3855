-- deliver_many.lua: apply events of webhooks that come at the same time, one after the other.
--
-- needs: types, runs, work, deliveries
--
-- ARGV[2]  events, JSON: of each what it is known by, the event, and its place in a batch of several, or ""
-- ARGV[3]  policy, JSON
--
-- Returns {"delivered", outcome...}: of each event, in order, as deliver.lua says. There are fewer of them where much follows
-- from one, or their runs have very many machines: the others are to be brought again. So are those behind an event that
-- broke off, whose outcome is "failed", and that one alone.

look_at_types()

-- Machines of the runs of one script's events, at most, but for those of the last run: some 10 ms to read and write them.
local MOST_MACHINES = 1000

local policy = cjson.decode(ARGV[3])
local outcomes, machines = { "delivered" }, 0
for _, each in ipairs(cjson.decode(ARGV[2])) do
    local is_whole, answer = pcall(deliver, each[1], each[2], each[3], "webhook", policy)
    outcomes[#outcomes + 1] = is_whole and answer[1] or "failed"
    local run = is_whole and answer[2] and load_run(answer[2])
    machines = machines + (run and #(run.machines or run.presumed or run.planned or {}) or 0)
    -- Behind an event that broke off nothing is certain of what this script knows.
    if not is_whole or has_left or work > SHARE or machines > MOST_MACHINES then
        break
    end
end
return outcomes
