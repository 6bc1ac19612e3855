-- renew_leader_lock.lua: prolong a lock, by the process that has it only.
--
-- KEYS[1]  lock  string  the token of the process that has it
-- ARGV[1]  token
-- ARGV[2]  how long from now, ms
--
-- Returns {"renewed"}, or {"not_held"}.

if redis.call("GET", KEYS[1]) ~= ARGV[1] then
    return { "not_held" }
end
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return { "renewed" }
