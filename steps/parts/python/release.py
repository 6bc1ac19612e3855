# release.py: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


GIVE_UP_SECONDS = 20

# part: parameters


# part: http


# part: pause


def finish(text):
    printhighlight(text)
    sys.stdout.flush()
    sys.exit(0)


def not_released(why):
    printwarning(f"Not released: {why} octowait frees the machines when it learns that the task has ended.")
    sys.stdout.flush()
    sys.exit(0)


# 1. Check the parameters.
# part: common_parameters

if problems:
    not_released("; ".join(problems) + ".")

# 2. No machines: nothing was held.
if not machine_list.replace(",", "").strip():
    finish("This deployment has no machines: nothing to release.")

# 3. Give them back.
reason = "?reason=release%20step%2C%20no%20error%20in%20the%20deployment"
if variable("Octopus.Deployment.Error"):
    reason = "?reason=release%20step%2C%20the%20deployment%20has%20an%20error"

while True:
    answer = ask("DELETE", reason, time_out=5)

    if answer.state == "released":
        finish(f"Released: {task} has given its machines back.")
    elif answer.state == "left":
        finish(f"Left: {task} was still waiting and has left the line.")
    elif answer.state == "nothing":
        finish(f"Nothing to release: {task} holds no machines.")
    elif answer.state == "interrupted":
        seconds = draw_pause(4)
        failures += 1
        if elapsed() + seconds + 5 > GIVE_UP_SECONDS or failures > 5:
            not_released(f"octowait at {url} did not answer ({answer.message}).")
        time.sleep(seconds)
    else:
        not_released(f"{answer.message}.")
