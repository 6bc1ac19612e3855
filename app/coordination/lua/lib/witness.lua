-- lib/witness.lua: the witness: whether Redis knows less than what octowait has already acted on (rule 24).
--
-- Redis can come back older: a restored backup, a file that was cut, a replica that lagged, a split brain. Whoever calls
-- a script says what it has seen last. Where the data here cannot be those that it saw, the board closes before the script
-- does anything else. The loader puts this in front of every script of the board.
--
-- needs: clock, keys, types, changes, runs

-- Epochs that are remembered: one for each time that the board closed for its age, or opened.
local MAX_EPOCHS = 1000

-- Grant nobody from now on.
local function close_board(cause, detail)
    call("HDEL", COUNTERS, "opened_at")
    OPENED_AT = nil
    call("HSET", COUNTERS, "closed_at", NOW)
    call("HSET", COUNTERS, "closed_cause", cause)
    record("closed", nil, nil, cause, detail)
end

-- Remember that *number* of an epoch was told of: nothing closes again for what comes before it.
local function forgive(epoch, number)
    if number > tonumber(call("HGET", EPOCHS, epoch) or -1) then
        call("HSET", EPOCHS, epoch, string.format("%.0f", number))
    end
end

-- End the epoch. Its id begins with its time, so that the oldest is the first to be forgotten.
local function end_epoch()
    if EPOCH then
        forgive(EPOCH, NUMBER)
    end
    begin_epoch()
    if call("HLEN", EPOCHS) > MAX_EPOCHS then
        local epochs = call("HKEYS", EPOCHS)
        table.sort(epochs)
        call("HDEL", EPOCHS, epochs[1])
    end
end

-- Whether the data are not those, or later ones, of which *number* was seen with *word*.
local function is_unknown(epoch, number, word)
    if epoch ~= EPOCH or number > NUMBER then
        return number > tonumber(call("HGET", EPOCHS, epoch) or -1)
    elseif number == NUMBER then
        return word ~= LAST_WORD
    end
    local id = string.format("%.0f-0", number)
    local entry = call("XRANGE", CHANGES, id, id)[1]
    return entry ~= nil and entry[2][2] ~= word
end

local function look_at_witnesses()
    if ARGV[#ARGV] == string.format("%s %s %s %s", WORD, META[4] or "", META[5] or "", META[6] or "") then
        -- Most callers have made the last change themselves.
        return
    end
    local newest
    for epoch, number, word in string.gmatch(ARGV[#ARGV], " (%S+) (%d+) (%S+)") do
        number = tonumber(number)
        if is_unknown(epoch, number, word) then
            look_at_types()
            forgive(epoch, number)
            if not newest or number > newest.number then
                newest = { epoch = epoch, number = number, word = word }
            end
        end
    end
    if not newest then
        return
    end
    local here = { epoch = EPOCH or nil, number = NUMBER, word = LAST_WORD or nil }
    local lost = math.max(1, newest.number - NUMBER, tonumber(call("HGET", COUNTERS, "lost") or 0))
    end_epoch()
    -- Numbers go on above all that was seen, so that the higher one is always the later one.
    NUMBER = math.max(NUMBER, newest.number)
    call("HSET", COUNTERS, "change", string.format("%.0f", NUMBER), "lost", lost)
    local opened_at, closed_at, cause = unpack(call("HMGET", COUNTERS, "opened_at", "closed_at", "closed_cause"))
    if opened_at or (closed_at and cause ~= "empty") then
        close_board("rolled_back", { witness = newest, here = here, lost = lost })
    elseif closed_at then
        -- It is known that Redis lost its data, and what was found out since counts from now.
        call("HSET", COUNTERS, "closed_at", NOW)
    end
end

look_at_witnesses()
