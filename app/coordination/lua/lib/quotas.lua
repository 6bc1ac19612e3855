-- lib/quotas.lua: what the runs of a limited token may add: waiting ones at once, and by day new machines and data.
--
-- A day is one of UTC, by the board's clock: within any 24 hours twice a limit comes in at most. All that is counted is of
-- one day, and goes with it.
--
-- needs: clock, keys, bulk, runs

local DAY_MS = 86400000
local TODAY = string.format("%.0f", math.floor(NOW / DAY_MS))

-- Bytes that Redis was seen to keep of a run that has ended, of each of its machines, and of each that is new besides. Most
-- of the last are the first kilobytes of its index. What the request says is kept as well.
local OF_A_RUN, OF_A_MACHINE, OF_A_NEW_MACHINE = 1500, 100, 4500

-- What the run of the request would add: machines that the board has not known, the first of them, and bytes.
local new, first, bytes = 0, nil, 0

local function add_up(ask, length)
    for at, known in ipairs(values_of(MACHINES, lower_ids(ask.machines))) do
        if not known then
            new, first = new + 1, first or ask.machines[at]
        end
    end
    bytes = OF_A_RUN + length + OF_A_MACHINE * #ask.machines + OF_A_NEW_MACHINE * new
end

-- How much of *what*, "machines" or "bytes", the runs of an owner have added today.
local function added_today(what, owner)
    local values = call("HMGET", QUOTAS, "day", what .. "\0" .. owner)
    return values[1] == TODAY and tonumber(values[2] or 0) or 0
end

-- The answer to a request that one more limit of its owner stands against; nil where none does. *length*: of the request.
local function beyond_quota(ask, length)
    if ask.max_waiting then
        local count = call("ZLEXCOUNT", OWNED, span(ask.owner))
        if count >= ask.max_waiting then
            return { "full", count }
        end
    end
    if not (ask.max_new_machines or ask.max_new_mb) then
        return nil
    end
    add_up(ask, length)
    local machines_before, bytes_before = added_today("machines", ask.owner), added_today("bytes", ask.owner)
    if ask.max_new_machines and new > 0 and machines_before + new > ask.max_new_machines then
        return { "spent", "max_new_machines", machines_before, new, first }
    elseif ask.max_new_mb and bytes_before + bytes > ask.max_new_mb * 1000000 then
        return { "spent", "max_new_mb", bytes_before, bytes, "" }
    end
    return nil
end

-- Count what the run of the request adds, which nothing of its owner stands against.
local function use_quota(ask)
    if not (ask.max_new_machines or ask.max_new_mb) then
        return
    end
    if call("HGET", QUOTAS, "day") ~= TODAY then
        call("DEL", QUOTAS)
        call("HSET", QUOTAS, "day", TODAY)
        call("PEXPIRE", QUOTAS, 2 * DAY_MS)
    end
    call("HINCRBY", QUOTAS, "machines\0" .. ask.owner, new)
    call("HINCRBY", QUOTAS, "bytes\0" .. ask.owner, bytes)
end
