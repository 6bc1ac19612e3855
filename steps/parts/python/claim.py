# claim.py: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


VERB = "claim"
PARKED = True
GIVE_UP_SECONDS = 60

# part: parameters


# part: http


# part: pause


# part: failure


def finish(state, number):
    set_octopusvariable("Octowait.Granted", str(state != "waiting"))
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    sys.stdout.flush()
    sys.exit(0)


# 1. Check the parameters.
# part: common_parameters

# part: line_parameters

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
if target:
    fail(
        f"This step runs on the deployment target {target} and would wait there for other scripts, "
        "in a task slot and before it has a place in line: "
        "run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    printhighlight("This deployment has no machines: nothing to wait for.")
    finish("no_machines", 0)


# 4. Say who we are.
# part: body

# 5. Take a place in line and leave.
patience = min(timeout_seconds, GIVE_UP_SECONDS)

while True:
    if elapsed() >= patience:
        never_answered()

    answer = ask("PUT", body=body)

    if answer.state == "waiting":
        printwait(answer.message)
        printhighlight(
            "The manual intervention after this step pauses the deployment without a task slot, "
            f"until octowait resumes it or, after {timeout_minutes} min (Octowait.TimeoutMinutes), aborts it."
        )
        finish("waiting", 0)
    elif answer.state == "granted":
        printhighlight(answer.message)
        finish("granted", answer.number)
    elif answer.state == "interrupted":
        last_message = f"octowait did not answer ({answer.message})."
        printwait(f"{last_message} Asking again until {patience} s have passed.")
        sys.stdout.flush()
        pause(answer.retry_after, patience)
        failures += 1
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
