-- poll.lua: the status of a run.
--
-- needs: due, polls
--
-- ARGV[2]  task id
-- ARGV[3]  "poll": its step asks, which is a sign of life and collects a grant; "block": it asks, and the answer may come
--          when nobody is there any more to read it; "sleep": the same, and of a run that waits it reads only that;
--          "look": somebody else asks
-- ARGV[4]  claim  the id of the execution of the step that asks, or "". With one, only a "poll" collects, and only once the
--                 execution was told of the grant.
--
-- ARGV[5]  owner  whose token asks, or "": of who may do everything
-- ARGV[6]  seen  the number of the latest change that its step says an answer "granted" has told it, 0 where there was no such
--                answer, or "" where it repeats nothing
--
-- Returns {"others", run JSON, now} when the run belongs to another owner, {"run", view...}, {"waits", ttl in ms, task id} to
-- a "sleep", {"left", now} when that execution is over or another one has followed it, or {"unknown"}, also when it has not
-- asked for a place, or that was lost.

expire_due()
return poll(ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
