-- lib/deliveries.lua: events of Octopus, each applied once, in whatever order they come (rule 7).
--
-- Two times of a run, by the clock of Octopus, make the result independent of the order: its latest start and its end.
--
-- needs: clock, keys, offset, runs, lines, work, grants, plans, claims, ends, expiry

-- What a webhook can be ahead of the clock of Octopus: as far as clocks are that nobody sets.
local AHEAD_MS = 300000

-- Set once this script has ended what is due.
local is_expired = false

local function expire_once()
    if not is_expired then
        is_expired = true
        expire_due()
    end
end

-- Apply an event and answer with a list: how, and the id of its run where that was looked at. A script may apply several.
--
-- known_by  what the event is known by
-- event     id, category, effect (started | resumed | ended | paused | queued | other), occurred_ms, sent_ms (of a webhook
--           that says it), task, deployment, outcome (of an end), info
-- batch     its place in a batch of several, "batch NUL its events NUL number of this one", or ""
-- via       who brings it: webhook | catch_up | reconcile | rebuild
-- policy    tolerance_ms: between Octopus's clock and ours, beyond what is known of them; grace_ms: see release.lua;
--           paused_holds: a paused run keeps its machines (rule 9); has_key: an API key is set; hold_ms: without one, how
--           long machines are presumed busy; expect_ms: how long a run is about to ask whose process comes with a step or a
--           gate; confirm: Octopus is asked before an end frees a machine that somebody waits for
-- follows   id of the first event of its task that came before it and is one change with it, if there is one
local function deliver(known_by, event, batch, via, policy, follows)
    if batch ~= "" then
        call("ZADD", BATCHES, NOW, batch)
    end
    if via == "webhook" then
        call("HSET", COUNTERS, "event_at", NOW)
        if event.sent_ms then
            note_sending(event.sent_ms)
        end
    end
    if call("ZSCORE", EVENTS, known_by) then
        return { "duplicate" }
    end
    expire_once()
    if event.effect ~= "other" and event.occurred_ms > NOW + 86400000 then
        -- No end could end a run with a start in the far future.
        return { "implausible" }
    end
    -- Whoever knows the webhook's secret, and nothing else, could begin a run so late that its own end would be that of an
    -- earlier one.
    local least_ahead, most_ahead = octopus_offset()
    -- What has not happened yet by a clock that was compared: who compared it has asked somebody else, such as a proxy.
    local is_to_come = event.occurred_ms - most_ahead > NOW + policy.tolerance_ms
    if via == "webhook" and event.occurred_ms > NOW + most_ahead + AHEAD_MS then
        event.occurred_ms = math.floor(NOW + least_ahead)
    end
    -- When it occurred by our clock, at the earliest and at the latest.
    local earliest, latest = event.occurred_ms - most_ahead, event.occurred_ms - least_ahead
    local task = event.task or (event.deployment and call("HGET", ALIASES, lower(event.deployment)))
    local detail = { event = event.id, category = event.category, occurred_ms = event.occurred_ms, follows = follows }
    local age = math.floor(math.max(0, NOW - latest))
    if via ~= "webhook" then
        detail.via, detail.late_ms = via, age
    else
        detail.lag_ms = age
    end

    if not task then
        if event.effect ~= "other" and event.effect ~= "queued" and event.deployment then
            return { "unlinked" }
        end
        -- Below 0: nothing comes of it if it is told again, so its id is kept for a day only.
        call("ZADD", EVENTS, -NOW, known_by)
        record("event", nil, nil, nil, detail)
        return { "ignored" }
    end

    local run = load_run(task) or { id = task, run = 1, state = "known", info = {} }
    if event.effect == "other" then
        call("ZADD", EVENTS, NOW, known_by)
        if run.state == "known" then
            call("ZADD", ENDED, NOW, lower(run.id))
        end
        record("event", run, nil, nil, detail)
        return { "ignored", run.id }
    end
    if event.deployment then
        local known = call("HGET", ALIASES, lower(event.deployment))
        -- A trigger runs a deployment again, for machines that were left out the first time.
        run.again = run.again or (known and lower(known) ~= lower(run.id)) or nil
        call("HSET", ALIASES, lower(event.deployment), run.id)
    end
    -- What a step says of its project, only its token vouches for.
    run.true_space, run.true_project = event.info.space_id or run.true_space, id_of(event.info, "project") or run.true_project
    for name, value in pairs(event.info) do
        if run.info[name] == nil then
            run.info[name] = value
        end
    end

    local occurred = event.occurred_ms

    local function note(outcome)
        detail.note = outcome ~= "applied" and outcome ~= "unresolved" and outcome or nil
        save_run(run)
        if run.state == "known" then
            -- A run that never starts is to be forgotten as well.
            call("ZADD", ENDED, NOW, lower(run.id))
        end
        record("event", run, nil, nil, detail)
    end

    local function starts_anew()
        if run.ended_oct_ms then
            -- A task may run again in the millisecond in which its last run ends: then only the order of the two tells.
            return occurred > run.ended_oct_ms or (follows and occurred == run.ended_oct_ms)
        end
        if FINISHED[run.state] then
            -- The run ended by our clock, and an earlier start is the late start of that same run.
            return latest > run.ended_at_ms + policy.tolerance_ms
        end
        return run.state == "known"
    end

    -- The latest start counts. A resume counts as a start only while no start is known, which may come late.
    local function note_start(anew, is_resume)
        local known = run.started_oct_ms
        if known and run.is_resume_first and not is_resume and occurred < known then
            run.started_oct_ms, run.is_resume_first = occurred, nil
        elseif not known or anew or not is_resume then
            run.started_oct_ms, run.is_resume_first = math.max(known or 0, occurred), is_resume or nil
        end
    end

    local function started(is_resume)
        local anew = starts_anew()
        note_start(anew, is_resume)
        if not anew and may_work_on(run) then
            note("applied")
            linger(run)
            return "unresolved"
        end
        if not anew then
            note(FINISHED[run.state] and "late" or "applied")
            return "applied"
        end
        if run.state == "granted" or run.state == "observed" then
            -- The task runs again while the machines of its abandoned run are kept: the new run holds them, without a deadline.
            call("ZREM", DEADLINES, "grace\0" .. run.id)
            run.end_seen, run.cancelling_at_ms = nil, nil
            note("applied")
            return "applied"
        end
        call("ZREM", ENDED, lower(run.id))
        call("ZREM", RESUMES, run.id)
        local given_back, since
        if FINISHED[run.state] then
            given_back, since = stop_presuming(run)
            run = {
                id = run.id, run = run.run + 1, v = run.v, info = run.info, started_oct_ms = occurred,
                true_space = run.true_space, true_project = run.true_project, owner = run.owner,
                is_resume_first = is_resume or nil, prior_end_oct_ms = run.ended_oct_ms,
            }
        end
        run.state, run.has_key, run.hold_ms = "started", policy.has_key, policy.hold_ms
        -- The start may have happened long before its event came.
        run.start_seen_at_ms = math.min(NOW, math.floor(latest) + policy.tolerance_ms)
        if may_have_step(run.info) then
            expect_step(run, run.start_seen_at_ms + policy.expect_ms)
        end
        call("ZADD", UNRESOLVED, NOW, run.id)
        note("applied")
        presume_last(run)
        grant_heads(given_back or {}, since)
        return "unresolved"
    end

    -- The run that an end or a pause is of: "this", "earlier", or "doubt" where the clocks do not decide that. An end from before
    -- the last request of a run is that of an earlier run of the task, since an ended run asks for nothing. Octopus can report one
    -- end twice, as that of a deployment and as that of its task, a moment apart.
    local function whose()
        if run.started_oct_ms and occurred < run.started_oct_ms then
            return "earlier"
        end
        local prior = run.prior_end_oct_ms
        if prior and occurred <= prior + policy.tolerance_ms and (run.started_oct_ms or 0) <= prior then
            return "earlier"
        end
        if run.state ~= "waiting" and run.state ~= "granted" then
            return "this"
        end
        if run.owes_end then
            return earliest <= run.asked_at_ms + policy.tolerance_ms and "earlier" or "this"
        end
        local since = run.asked_at_ms - policy.tolerance_ms
        return latest < since and "earlier" or (is_to_come or earliest < since) and "doubt" or "this"
    end

    local function resumed()
        if occurred < (run.paused_oct_ms or 0) then
            note("late")
            return "ignored"
        end
        run.paused = nil
        if run.parked and run.state == "waiting" and latest > run.asked_at_ms + policy.tolerance_ms then
            note("applied")
            answered(run, "by_hand", { result = "Proceed", event = event.id })
            return "applied"
        end
        if run.gave_way and not run.end_seen and FINISHED[run.state] then
            run.gave_way = nil
            note("applied")
            observe(run, "resumed")
            return "applied"
        end
        if FINISHED[run.state] and not may_work_on(run) then
            -- The run has given its machines back, and only a start begins a new one.
            note("late")
            return "ignored"
        end
        return started(true)
    end

    local function paused()
        if call("ZSCORE", RESUMES, run.id) then
            -- The intervention that is to be answered has been raised.
            call("ZADD", RESUMES, NOW, run.id)
        end
        -- A pause that is over by now, or was one of an earlier run, must not take machines away.
        if FINISHED[run.state] or run.state == "known" or whose() ~= "this" then
            note("late")
            return "ignored"
        end
        run.paused = true
        run.paused_oct_ms = math.max(run.paused_oct_ms or 0, occurred)
        note("applied")
        -- The pause for the intervention of a parked run is no pause of its work, even when the grant came before the event.
        -- Until the intervention is answered every pause counts as that one.
        local is_parking = run.parked
            and (earliest <= (run.granted_at_ms or 0) + policy.tolerance_ms or call("ZSCORE", RESUMES, run.id))
        if not policy.paused_holds and not is_parking and (run.state == "granted" or run.state == "observed") then
            run.gave_way = true
            finish(run, run.state == "granted" and "released" or "ended", "paused", { event = event.id })
        end
        return "applied"
    end

    -- Whether the end of the run would free machines that somebody waits for.
    local function is_waited_for()
        if run.state == "waiting" or (FINISHED[run.state] and not run.lingers) then
            return false
        end
        for _, task in ipairs(heads_of(run.machines or run.presumed or {})) do
            if task then
                return true
            end
        end
        return false
    end

    local function ended()
        local whose_end = whose()
        if whose_end == "earlier" then
            run.owes_end = nil
            run.prior_end_oct_ms = math.max(run.prior_end_oct_ms or 0, occurred)
            note("earlier run")
            return "ignored"
        end
        local is_suspect = via == "webhook" and policy.confirm and is_waited_for()
        if is_suspect or (whose_end == "doubt" and run.has_key) then
            -- Whoever knows the webhook's secret could let others onto machines under work: Octopus is asked first. Nor does an
            -- end that may be an earlier one's end a run whose task can be asked for.
            run.end_event = { id = event.id, occurred_ms = occurred, outcome = event.outcome }
            note("unconfirmed")
            return "unconfirmed"
        end
        run.ended_oct_ms = math.max(run.ended_oct_ms or 0, occurred)
        run.end_seen = true
        run.paused = nil
        run.outcome = event.outcome
        end_claim(run.id, run.claim)
        if run.state == "known" then
            run.state, run.ended_at_ms = "ended", NOW
            call("ZADD", ENDED, NOW, lower(run.id))
        end
        note("applied")
        if run.lingers then
            stop_lingering(run, "event", { event = event.id })
        elseif not FINISHED[run.state] and not put_off_end(run, policy.grace_ms) then
            local word = run.state == "waiting" and "left" or run.state == "granted" and "released" or "ended"
            finish(run, word, "event", { event = event.id })
        end
        return "applied"
    end

    local function queued()
        note("applied")
        return "applied"
    end

    local apply = { started = started, resumed = resumed, paused = paused, ended = ended, queued = queued }
    local outcome = apply[event.effect]()
    -- Last: a script that fails half-way leaves the event to be delivered again.
    call("ZADD", EVENTS, NOW, known_by)
    return { outcome, run.id }
end

-- Apply events of one task that follow one another, each {what it is known by, event}, as one change: between the end of a run
-- and the next start nobody is granted its machines, and until it is known which ones the next run uses it is presumed to use
-- them. Answers with how each was applied.
local function deliver_as_one(events, via, policy)
    expire_once()
    local before, outcomes = load_run(events[1][2].task), {}
    local holds = before and (before.lingers or before.state == "granted" or before.state == "observed" or before.state == "started")
    local number, machines = before and before.run, holds and (before.machines or before.presumed) or {}
    is_held_back = true
    for at, each in ipairs(events) do
        outcomes[at] = deliver(each[1], each[2], "", via, policy, at > 1 and events[1][2].id or nil)[1]
    end
    local run = load_run(events[1][2].task)
    if run and run.state == "started" and run.run ~= number then
        presume(run, machines, "last_run", run.hold_ms)
    end
    is_held_back = false
    work_off(SLICE)
    return outcomes
end
