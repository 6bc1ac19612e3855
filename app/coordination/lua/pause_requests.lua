-- pause_requests.lua: permit no requests to Octopus for a while; a longer pause stays.
--
-- needs: clock
--
-- KEYS[1]  pause         string  until when there are no permits, ms
-- KEYS[2]  pause-urgent  string  the same for urgent requests
-- ARGV[2]  pause, ms
-- ARGV[3]  pause of urgent requests, ms
--
-- Returns {"paused"}.

local function pause(key, before, length_ms)
    local ends = NOW + tonumber(length_ms)
    if ends > tonumber(before or 0) then
        redis.call("SET", key, ends, "PX", length_ms)
    end
end

-- A key of another type breaks it off here, before anything has changed.
local before, before_urgent = redis.call("GET", KEYS[1]), redis.call("GET", KEYS[2])
pause(KEYS[1], before, ARGV[2])
pause(KEYS[2], before_urgent, ARGV[3])
return { "paused" }
