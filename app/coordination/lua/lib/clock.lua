-- lib/clock.lua: the time, by the clock of the Redis server, which all processes share.
--
-- ARGV[1]  what the clock is ahead of the server's, ms; 0 but in tests. Behind it, of a caller that has compared it with a
--          clock of his own: the time that he expects, and how far it may be from that, ms

-- Seconds by a clock that runs on in a script. TIME stands still there, but on the servers that have no `os` in scripts.
local function running_clock()
    local os = rawget(_G, "os")
    if os then
        return os.clock()
    end
    local time = redis.call("TIME")
    return time[1] + time[2] / 1000000
end

-- When the script's own work began.
local BEGAN = running_clock()

local function now_ms()
    local time = redis.call("TIME")
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local SERVER_NOW = now_ms()
local AHEAD_BY, EXPECTED_NOW, NOW_SLACK = string.match(ARGV[1], "^(%S+) ?(%S*) ?(%S*)")
local NOW = SERVER_NOW + tonumber(AHEAD_BY)

