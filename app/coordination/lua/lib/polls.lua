-- lib/polls.lua: what a poll is answered, which is a sign of life where the run's own step asks.
--
-- needs: clock, keys, types, runs, lines, claims, withdraw, view

local poll

-- Else there would be more locals than a script may have.
do
    -- By which part of the time to live the life of a waiter may be too short, so that a step which blocks again as soon as
    -- it is answered has nothing written.
    local SHORTER = 64

    -- Whether nothing needs to be written about the life of a run.
    local function is_lively(run)
        local ends_at = tonumber(call("ZSCORE", DEADLINES, "life\0" .. run.id) or 0)
        return ends_at >= NOW + run.ttl_ms * (1 - 1 / SHORTER)
    end

    -- Whether a step that repeats what it has seen need not be noted to have been told of its grant: it says so itself when
    -- it asks again, and nobody waits for the answer until a write is synced.
    local function is_told_by_reading(run, who)
        return run.granted_change and run.state == "granted" and who ~= "poll" and not run.collected and not run.parked
            and not is_uncopied(run) and is_lively(run)
    end

    -- The answer about the run of *task*, as poll.lua lists them. *who* asks: "poll", "block", "sleep" or "look".
    function poll(task, who, claim, owner, seen)
        local run = load_run(task)
        claim = who ~= "look" and claim ~= "" and claim
        if claim and not (run and run.claim == claim) and is_over(task, claim) then
            return { "left", NOW }
        end
        if not run or (claim and run.claim ~= claim) then
            return { "unknown" }
        end
        if is_anothers(run, owner) then
            return { "others", cjson.encode(run), NOW }
        end
        local ended = claim and end_of_wait(run, claim)
        if ended then
            return { "run", cjson.encode(ended), NOW, {} }
        end
        if who == "sleep" and run.state == "waiting" then
            if not is_lively(run) then
                show_life(run)
            end
            return { "waits", run.ttl_ms, run.id }
        end
        if who == "look" then
            return view("run", run)
        end
        if run.state == "waiting" and not run.parked then
            -- All is read before the one change, of a key that was read: nothing breaks off behind it, and most polls look no
            -- further.
            local answer = view("run", run)
            show_life(run)
            return answer
        end
        if is_doubtful(run) then
            look_at_types()
            withdraw(run)
            return view("run", run)
        end
        seen = claim and tonumber(seen)
        if seen and is_told_by_reading(run, who) then
            return view("run", run)
        end
        -- Here as well all is read before the first change, which is that of RESUMES where that is changed at all; the
        -- stream of the changes alone is only written.
        call("XLEN", CHANGES)
        local answer = view("run", run)
        show_life(run, claim, who == "poll" and (run.told or (seen and run.granted_change and seen >= run.granted_change)))
        if who == "poll" and claim and run.state == "granted" and not run.collected and not is_uncopied(run) then
            -- It is answered that it waits, and asks again once it is woken: one that blocks on Redis has used its wake.
            wake(run)
        end
        answer[2] = texts[lower(run.id)]
        return answer
    end
end
