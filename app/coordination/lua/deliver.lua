-- deliver.lua: apply an event of Octopus.
--
-- needs: types, deliveries
--
-- ARGV[2]  what the event is known by
-- ARGV[3]  the event, JSON; this and what follows as lib/deliveries.lua lists it
-- ARGV[4]  its place in a batch of several, or ""
-- ARGV[5]  who brings it
-- ARGV[6]  policy, JSON
--
-- Returns {"applied"}, {"unresolved"} when it was applied and its machines are to be found out, {"unconfirmed"} when
-- Octopus is to be asked whether it is so, {"ignored"}, {"duplicate"}, or, not remembered: {"unlinked"} when only Octopus
-- can say which task it is about, {"implausible"} when it says that it occurred more than a day from now.

look_at_types()
return deliver(ARGV[2], cjson.decode(ARGV[3]), ARGV[4], ARGV[5], cjson.decode(ARGV[6]))
