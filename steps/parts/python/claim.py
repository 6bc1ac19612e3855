# claim.py: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


VERB = "claim"
PARKED = True
FIRST_CONTACT_SECONDS = 60 / TIME_DIVISOR

# part: text


# part: failure


# part: parameters


# part: address


# part: route


# part: claim_id


# part: http


# part: answer


# part: pause


# part: contact


# part: log


def finish(state, number):
    set_octopusvariable("Octowait.Granted", str(state != "waiting"))
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    sys.stdout.flush()
    sys.exit(0)


def give_up():
    if not has_answered:
        never_answered()
    ask("DELETE", "?reason=unreachable%20for%20the%20claim%20step", limit=5)
    if was_granted:
        fail(f"octowait at {url} has not confirmed its grant for {int(elapsed())} s. {last_message}")
    fail(f"octowait at {url} has given no place for {int(elapsed())} s. {last_message}")


# 1. Check the parameters.
# part: common_parameters

# part: line_parameters

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
# part: placement

if target:
    fail(
        f"This step runs on the deployment target {target} and would wait there for other scripts, "
        "in a task slot and before it has a place in line: "
        "run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    say_highlight("This deployment has no machines: nothing to wait for.")
    finish("no_machines", 0)


# 4. Say who we are.
# part: body

# 5. Take a place in line and leave.
was_granted = False
confirmations = 0  # how often a grant that was read was asked for again
has_asked = False

while True:
    limit = min(timeout_seconds, FIRST_CONTACT_SECONDS) if has_answered else patience()
    if has_asked and confirmations == 0 and elapsed() >= limit:
        give_up()
    has_asked = True

    if confirmations > 0:
        answer = ask("GET", "?block_seconds=0")
    else:
        answer = ask("PUT", body=body)
    if is_refused(answer):
        fail(f"octowait does not let this run wait: {answer.message}")
    listen(answer)
    note(answer)

    if answer.state == "granted" and knows_claims and confirmations == 0:
        was_granted = True
        confirmations = 1
    elif answer.state == "granted":
        say_highlight(answer.message)
        finish("granted", answer.number)
    elif answer.state == "waiting":
        say_wait(answer.message)
        say_highlight(
            "The manual intervention after this step pauses the deployment without a task slot, "
            f"until octowait resumes it or, after {timeout_minutes} min (Octowait.TimeoutMinutes), aborts it."
        )
        finish("waiting", 0)
    elif answer.state in ("silence", "heard") and confirmations == 1:
        confirmations = 2
    elif answer.state in INTERRUPTED:
        last_message = f"octowait did not answer ({answer.message})."
        limit = min(timeout_seconds, FIRST_CONTACT_SECONDS) if has_answered else patience()
        say_wait(f"{last_message} Asking again until {int(limit)} s have passed.")
        confirmations = 0
        pause(answer.retry_after, limit)
        failures += 1
    elif answer.state in ("expired", "unknown"):
        say_wait(f"{answer.message} Asking for a place again.")
        confirmations = 0
        pause(0, limit)
        failures += 1
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
