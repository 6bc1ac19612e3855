-- release_leader_lock.lua: give a lock back, by the process that has it only.
--
-- KEYS[1]  lock  string  the token of the process that has it
-- ARGV[1]  token
--
-- Returns {"released"}, or {"not_held"}.

if redis.call("GET", KEYS[1]) ~= ARGV[1] then
    return { "not_held" }
end
redis.call("DEL", KEYS[1])
return { "released" }
