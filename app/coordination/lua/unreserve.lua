-- unreserve.lua: end the reservation of a machine and grant the first waiter.
--
-- needs: keys, types, due, reservations
--
-- ARGV[2]  machine id
-- ARGV[3]  who does it
--
-- Returns {"unreserved"}, or {"nothing"}.

look_at_types()
expire_due()
if end_reservation(lower(ARGV[2]), "operator", { by = ARGV[3] }) then
    return { "unreserved" }
end
return { "nothing" }
