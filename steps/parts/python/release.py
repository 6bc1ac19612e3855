# release.py: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


VERB = "release"
CALL_LIMIT_SECONDS = 5
GIVE_UP_SECONDS = 20

# part: text


# part: parameters


# part: address


# part: route


# part: http


# part: answer


# part: pause


def finish(text):
    say_highlight(text)
    sys.stdout.flush()
    sys.exit(0)


def not_released(why):
    say_warning(f"Not released: {why} octowait frees the machines when it learns that the task has ended.")
    sys.stdout.flush()
    sys.exit(0)


# 1. Check the parameters.
# part: common_parameters

claim = parameter("Octowait.Claim", "", ONE_EXPRESSION)
if claim and not re.match(CLAIM_PATTERN, claim):
    problem("Octowait.Claim", claim, "nothing, or the output variable Octowait.Claim of the wait or claim step")
if problems:
    not_released("; ".join(problems) + ".")

# 2. No machines: nothing was held.
if not machines:
    finish("This deployment has no machines: nothing to release.")

# 3. Give them back: those of the claim, which octowait knows if nobody has said it here.
reason = "?reason=release%20step%2C%20no%20error%20in%20the%20deployment"
if variable("Octopus.Deployment.Error"):
    reason = "?reason=release%20step%2C%20the%20deployment%20has%20an%20error"
has_looked = claim != ""

while True:
    if has_looked:
        answer = ask("DELETE", reason, limit=CALL_LIMIT_SECONDS)
    else:
        answer = ask("GET", "?look=1", limit=CALL_LIMIT_SECONDS)

    if answer.state in INTERRUPTED and answer.state != "token":
        seconds = draw_pause(4)
        failures += 1
        if elapsed() + seconds + CALL_LIMIT_SECONDS > GIVE_UP_SECONDS or failures > 5:
            not_released(f"octowait at {url} did not answer ({answer.message}).")
        time.sleep(seconds)
    elif not has_looked and (answer.state in STATES or answer.status == 422):
        # 422: an octowait of before, which knows no claims.
        has_looked = True
        claim = word(answer, "claim", CLAIM_PATTERN)
    elif answer.state == "released":
        finish(f"Released: {task} has given its machines back.")
    elif answer.state == "left":
        finish(f"Left: {task} was still waiting and has left the line.")
    elif answer.state in ("nothing", "unknown"):
        finish(f"Nothing to release: {task} holds no machines.")
    else:
        not_released(f"{answer.message}.")
