-- speak.lua: note which server a process has found at its new connection, and call the roll where it is another one than
-- before (rule 24): nobody is granted until all who serve have said what they have seen, as every script does for them.
--
-- needs: keys, types, witness
--
-- ARGV[2]  server  its run id: another one after each start of it, and after a fail-over
--
-- Returns {"known"}, {"noted"} when it is another one and nobody is granted anyhow, or {"called"}.

look_at_types()

-- Who has been silent for so long, ms, when the last one spoke, has seen nothing that this one has not.
local SILENT_MS = 5000

local known = call("HGET", COUNTERS, "server_word")
if known == ARGV[2] then
    return { "known" }
end
call("HSET", COUNTERS, "server_word", ARGV[2])
local newest = call("ZRANGE", PROCESSES, -1, -1, "WITHSCORES")
if not newest[2] or not known or not call("HGET", COUNTERS, "opened_at") then
    return { "noted" }
end
call("ZREMRANGEBYSCORE", PROCESSES, "-inf", tonumber(newest[2]) - SILENT_MS)
for _, process in ipairs(call("ZRANGE", PROCESSES, 0, -1)) do
    -- Until it sweeps again.
    call("ZADD", PROCESSES, 0, process)
end
close_board("roll_call")
return { "called" }
