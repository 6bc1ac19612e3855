-- lib/bulk.lua: one command for many machines: to call it takes longer than what it does about one of them.
--
-- needs: keys

-- Arguments of one call: even, since some come in pairs; Lua's stack has room for some thousands.
local BULK = 500

-- Call *command* for all of *arguments*, as many at once as may be.
local function in_bulk(command, key, arguments)
    for from = 1, #arguments, BULK do
        call(command, key, unpack(arguments, from, math.min(from + BULK - 1, #arguments)))
    end
end

-- The values of fields of a hash, false where there is none.
local function values_of(key, fields)
    local values = {}
    for from = 1, #fields, BULK do
        local some = call("HMGET", key, unpack(fields, from, math.min(from + BULK - 1, #fields)))
        for at = 1, #some do
            values[from + at - 1] = some[at]
        end
    end
    return values
end

-- List of machines -> the same in lower case, of those that this script has made.
local lowered = {}

local function lower_ids(machines)
    local ids = lowered[machines]
    if not ids or #ids ~= #machines then
        ids = {}
        for at, machine in ipairs(machines) do
            ids[at] = lower(machine)
        end
        lowered[machines] = ids
    end
    return ids
end

-- Machines that are looked at one by one: for so few a look at all of them costs more.
local FEW = 8

-- Lua compares texts as the locale of the server has it: by their bytes, as Redis does, or as people of a language do, to
-- whom capitals do not come before all other letters.
local IS_BY_BYTES = "B" < "a" and "a-" < "a." and "a." < "a1" and "a_" < "ab"

-- Numbers behind the same letters are in one order in all locales.
local function has_numbers_only(ids)
    local letters = string.match(ids[1] or "", "^([%a-]*)%d+$")
    local pattern = letters and "^" .. string.gsub(letters, "%-", "%%-") .. "%d+$"
    for _, id in ipairs(ids) do
        if not (pattern and string.find(id, pattern)) then
            return false
        end
    end
    return true
end

-- List of ids -> whether they are in order; of those that this script has looked at.
local orders_known = {}

-- Whether sorted sets have the members of machines (lower-case ids) in the order of *ids*, each once. Those of which that
-- is not certain count as in no order.
local function are_in_order(ids)
    if orders_known[ids] == nil then
        local last = ""
        for _, id in ipairs(ids) do
            if not (last < id) then
                orders_known[ids] = false
                return false
            end
            last = id
        end
        orders_known[ids] = IS_BY_BYTES or has_numbers_only(ids)
    end
    return orders_known[ids]
end

-- *machines*, in the order of their ids where there are many.
local function in_order(machines)
    if #machines > FEW and not are_in_order(lower_ids(machines)) then
        table.sort(machines)
        -- Another list by now.
        lowered[machines] = nil
    end
    return machines
end

-- The members of a sorted set at the machines *ids*[first] to *ids*[last], which are in order, and at others between them;
-- nil where there are more than *most*.
local function members_between(key, ids, first, last, most)
    local from, to = "[" .. ids[first] .. "\0", "(" .. ids[last] .. "\1"
    -- To count them takes as long as to read one.
    return call("ZLEXCOUNT", key, from, to) <= most and call("ZRANGEBYLEX", key, from, to) or nil
end

-- The same, of *members* of which the same stand at all these machines; nil where they do not. To compare a member takes a
-- third of what it takes to take one apart.
local function same_at_all(members, ids, first, last)
    local each = #members / (last - first + 1)
    if each ~= math.floor(each) then
        return nil
    end
    local list, tails, at_machine, at = {}, {}, {}, 0
    for number = 1, each do
        list[number] = string.sub(members[number], #ids[first] + 2)
        tails[number] = "\0" .. list[number]
    end
    for place = first, last do
        local id = ids[place]
        for number = 1, each do
            at = at + 1
            if members[at] ~= id .. tails[number] then
                return nil
            end
        end
        at_machine[id] = list
    end
    return at_machine
end

-- What stands there behind each machine: machine -> list. Machines one after the other at which the same stands have the
-- same list, as most machines of a run do: who looks at one of them knows about the others.
local function members_at(key, ids, first, last, most)
    local members = members_between(key, ids, first, last, most)
    local same_at = members and (#members == 0 and {} or same_at_all(members, ids, first, last))
    if not members or same_at then
        return same_at
    end
    local at_machine, find, sub = {}, string.find, string.sub
    -- *like*: the list of the machine before, as long as this one agrees with its first *count*.
    local machine, list, like, count = nil, nil, nil, 0
    local function close()
        if like and #like > count then
            list = { unpack(like, 1, count) }
        end
        if machine then
            at_machine[machine] = list
        end
    end
    for at = 1, #members do
        local member = members[at]
        local nul = find(member, "\0", 1, true)
        local id, tail = sub(member, 1, nul - 1), sub(member, nul + 1)
        if id ~= machine then
            close()
            machine, like, count = id, list, 0
        end
        count = count + 1
        if like and like[count] ~= tail then
            list, like = { unpack(like, 1, count - 1) }, nil
        elseif not list then
            list = {}
        end
        if not like then
            list[count] = tail
        end
    end
    close()
    return at_machine
end

-- What stands at each machine ahead of *own*, which is what one who stands at all of them has behind each: machine -> list, as
-- above; nil also where it does not stand at all.
local function members_ahead(key, ids, first, last, most, own)
    local members = members_between(key, ids, first, last, most)
    if not members then
        return nil
    end
    local at_machine, at, find, sub, list = {}, 1, string.find, string.sub, {}
    for place = first, last do
        local machine = ids[place] .. "\0"
        local its, behind, ahead, is_new = machine .. own, #machine + 1, 0, false
        while members[at] ~= its do
            local member = members[at]
            if not member then
                return nil
            end
            -- Others stand between the machines, or behind *own* at the machine before.
            if find(member, machine, 1, true) == 1 then
                local tail = sub(member, behind)
                ahead = ahead + 1
                if not is_new and list[ahead] ~= tail then
                    list, is_new = { unpack(list, 1, ahead - 1) }, true
                end
                list[ahead] = tail
            end
            at = at + 1
        end
        if #list > ahead then
            list = { unpack(list, 1, ahead) }
        end
        at_machine[ids[place]] = list
        at = at + 1
    end
    return at_machine
end

-- The first that stands there behind each machine: machine -> text.
local function firsts_at(key, ids, first, last, most)
    local members = members_between(key, ids, first, last, most)
    if not members then
        return nil
    end
    local at_machine, find, byte, match, machine, behind = {}, string.find, string.byte, string.match, "", 1
    for at = 1, #members do
        local member, tail = members[at], nil
        if byte(member, behind) ~= 0 or find(member, machine, 1, true) ~= 1 then
            machine, tail = match(member, "^([^%z]*)%z(.*)$")
            at_machine[machine], behind = tail, #machine + 1
        end
    end
    return at_machine
end
