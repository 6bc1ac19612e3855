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

local function pause(key, length_ms)
    local ends = NOW + tonumber(length_ms)
    if ends > tonumber(redis.call("GET", key) or 0) then
        redis.call("SET", key, ends, "PX", length_ms)
    end
end

pause(KEYS[1], ARGV[2])
pause(KEYS[2], ARGV[3])
return { "paused" }
