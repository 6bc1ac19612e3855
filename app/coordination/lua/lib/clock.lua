-- lib/clock.lua: the time, by the clock of the Redis server, which all processes share.
--
-- ARGV[1]  what the clock is ahead of the server's, ms; 0 but in tests

local function now_ms()
    local time = redis.call("TIME")
    return time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
end

local NOW = now_ms()

