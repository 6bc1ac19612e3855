-- deliver.lua: apply an event of Octopus, or several of one task as one change.
--
-- needs: types, deliveries
--
-- ARGV[2]  what the event is known by
-- ARGV[3]  the event, JSON; this and what follows as lib/deliveries.lua lists it
-- ARGV[4]  its place in a batch of several, or ""
-- ARGV[5]  who brings it
-- ARGV[6]  policy, JSON
-- ARGV[7]  events of the same task that follow it, JSON: of each what it is known by, and the event; or ""
--
-- Returns {"applied"}, {"unresolved"} when it was applied and its machines are to be found out, {"unconfirmed"} when
-- Octopus is to be asked whether it is so, {"ignored"}, {"duplicate"}, or, not remembered: {"unlinked"} when only Octopus
-- can say which task it is about, {"implausible"} when it says that it occurred more than a day from now. With others: as
-- many words.

look_at_types()
local event, policy = cjson.decode(ARGV[3]), cjson.decode(ARGV[6])
if ARGV[7] == "" then
    return deliver(ARGV[2], event, ARGV[4], ARGV[5], policy)
end
local events = cjson.decode(ARGV[7])
table.insert(events, 1, { ARGV[2], event })
return deliver_as_one(events, ARGV[5], policy)
