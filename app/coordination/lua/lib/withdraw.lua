-- lib/withdraw.lua: grants that nobody has collected, on a closed board.
--
-- The board may be older than what became of such a grant: it may have been taken back since, and its machines given to
-- another run. Nobody is told of it before it is known who works; the run waits again, in its old place.
--
-- needs: clock, keys, runs, lines

local function withdraw(run)
    let_go("lease", run, run.machines)
    line_up(run)
    forget_families()
    forget_deadlines(run)
    call("ZREM", RESUMES, run.id)
    if run.family then
        call("ZADD", CHILDREN, 0, child_member(run))
    end
    if not run.parked and not run.unchecked then
        call("SADD", BLOCKING, run.id)
    end
    if run.is_counted then
        call("ZADD", OWNED, 0, run.owner .. "\0" .. run.id)
    end
    if run.timeout_at_ms then
        call("ZADD", DEADLINES, run.timeout_at_ms, "timeout\0" .. run.id)
    end
    record("released", run, run.machines, "withdrawn", { held_ms = NOW - run.granted_at_ms, token = run.token }, true)
    run.state, run.token, run.granted_at_ms, run.told, run.collected = "waiting", nil, nil, nil, nil
    run.granted_change, run.copied, run.in_doubt = nil, nil, nil
    show_life(run)
    save_run(run)
    record("joined", run, run.machines, "released", {
        priority = run.priority ~= 0 and run.priority or nil, parked = run.parked, family = run.family,
        withdrawn = true,
    })
end

-- Whether nobody may be told of the grant of a run, if it has one.
local function is_doubtful(run)
    return not IS_OPEN and run.state == "granted" and not run.collected
end

