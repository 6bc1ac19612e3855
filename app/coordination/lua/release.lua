-- release.lua: end the hold of a run, or its wait, and grant the next waiters.
--
-- needs: clock, keys, types, offset, runs, claims, ends, expiry
--
-- ARGV[2]  task id
-- ARGV[3]  cause   step | forced | reconciled
-- ARGV[4]  detail  JSON: by, reason, ended_oct_ms, outcome, and what else the record shall say
-- ARGV[5]  seen    the version of the run that the caller decided on, or "": whatever it is now
-- ARGV[6]  grace   ms that the machines of a run stay busy which Octopus has abandoned, while its script may still run
-- ARGV[7]  claim   the id of the execution of the step that asks, which ends its own run only, or ""
-- ARGV[8]  owner   whose token asks, or "": of who may do everything
--
-- Returns {"others", run JSON, now} when the run belongs to another owner, {"changed", state} when its version is another,
-- {"released"}, {"left"} when it was waiting, or when another execution has followed the one that asks, {"grace"} when it
-- will be released later, or {"nothing"}.

look_at_types()

-- How far the end that a webhook told of may be from the one that Octopus has: it is told as that of a deployment, too.
local TOLD_MS = 60000

expire_due()
local run = load_run(ARGV[2])
if run and is_anothers(run, ARGV[8]) then
    return { "others", cjson.encode(run), NOW }
end
if ARGV[7] ~= "" and not (run and run.claim == ARGV[7]) then
    local was_followed = run and run.claim and is_over(ARGV[2], ARGV[7])
    -- What it sent before this may still be on its way.
    end_claim(ARGV[2], ARGV[7])
    return { was_followed and "left" or "nothing" }
end
if not run or (FINISHED[run.state] and not run.lingers) or run.state == "known" then
    if run and ARGV[7] ~= "" then
        end_claim(run.id, run.claim)
    end
    return { "nothing" }
end
if ARGV[5] ~= "" and tonumber(ARGV[5]) ~= (run.v or 0) then
    -- The run has joined, ended, asked again or been granted since the caller read it.
    return { "changed", run.state }
end
if run.rival and ARGV[8] ~= "" and run.state == "granted" then
    -- Two owners act for it: one of them must not free machines under the work of the other. Its task ends it.
    return { "nothing" }
end
local was, detail, cause = run.state, cjson.decode(ARGV[4]), ARGV[3]

-- Whether a webhook had told of the end that Octopus confirms: then it was no repair.
local function was_told()
    local told = run.end_event
    return told and detail.ended_oct_ms and math.abs(told.occurred_ms - detail.ended_oct_ms) <= TOLD_MS
end

if cause == "reconciled" then
    run.end_seen, run.outcome = true, detail.outcome
    if detail.ended_oct_ms then
        run.ended_oct_ms = math.max(run.ended_oct_ms or 0, detail.ended_oct_ms)
        detail.late_ms = math.floor(math.max(0, NOW - detail.ended_oct_ms + octopus_offset()))
    end
    if was_told() then
        cause, detail.event, detail.late_ms = "event", run.end_event.id, nil
    end
    run.end_event = nil
    if put_off_end(run, tonumber(ARGV[6])) then
        return { "grace" }
    end
end
if ARGV[3] == "step" and ARGV[7] == "" and (run.claim or FINISHED[run.after]) then
    -- It may be about an earlier run of the task, and late: nobody can tell.
    record("claimless", run, run.machines or run.presumed, nil, { by = detail.by, claim = run.claim })
end
if run.lingers then
    end_claim(run.id, run.claim)
    run.gave_back = ARGV[3] == "step" or nil
    run.cause, run.by, run.reason = cause, detail.by, detail.reason
    stop_lingering(run, cause, detail)
    return { "released" }
end
if was == "waiting" then
    finish(run, "left", cause, detail)
    return { "left" }
end
finish(run, was == "granted" and "released" or "ended", cause, detail)
return { "released" }
