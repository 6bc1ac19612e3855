-- take_permit.lua: permit one request to Octopus now, or say how long to wait before asking for a permit again.
--
-- needs: clock
--
-- KEYS[1]  permits  list    when each of the last permits was given, newest first, ms; never going back, so that a clock
--                           that does lets no more through
-- KEYS[2]  pause    string  until when there are none, ms
-- KEYS[3]  calls    hash    kind -> permits given
-- ARGV[2]  how many in a window at most
-- ARGV[3]  window, ms
-- ARGV[4]  kind of the request
-- ARGV[5]  the longest pause that is believed, ms
--
-- Returns {"permitted"}, or {"wait", ms}.

local permits, pause = KEYS[1], KEYS[2]
local most, window = tonumber(ARGV[2]), tonumber(ARGV[3])
local now = NOW
-- A key of another type breaks it off here, before anything has changed.
redis.call("HLEN", KEYS[3])
local paused_until = tonumber(redis.call("GET", pause) or 0)
local newest = tonumber(redis.call("LINDEX", permits, 0) or 0)
if newest > now + window then
    redis.call("DEL", permits)
elseif newest > now then
    now = newest
end
if paused_until > now and paused_until - now <= tonumber(ARGV[5]) then
    return { "wait", paused_until - now }
end
while tonumber(redis.call("LINDEX", permits, -1) or now) <= now - window do
    redis.call("RPOP", permits)
end
local decisive = redis.call("LINDEX", permits, most - 1)
if decisive then
    return { "wait", tonumber(decisive) + window - now }
end
redis.call("LPUSH", permits, now)
redis.call("PEXPIRE", permits, 2 * window)
redis.call("HINCRBY", KEYS[3], ARGV[4], 1)
return { "permitted" }
