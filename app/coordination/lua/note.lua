-- note.lua: write a record of something that changed nothing on the board.
--
-- needs: types, due, runs
--
-- ARGV[2]  kind
-- ARGV[3]  cause, or ""
-- ARGV[4]  detail, JSON
--
-- Returns {"noted"}.

look_at_types()
expire_due()
record(ARGV[2], nil, nil, ARGV[3], cjson.decode(ARGV[4]))
return { "noted" }
