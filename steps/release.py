# release.py: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
import collections
import http.client
import io
import json
import os
import random
import re
import sys
import time
import urllib.error
import urllib.request

# Octopus reads UTF-8, line by line.
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "replace", line_buffering=True)
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, "utf-8", "replace", line_buffering=True)

started = time.monotonic()


def elapsed():
    return time.monotonic() - started


GIVE_UP_SECONDS = 20

# Parameters come as variables of Octopus. What is wrong with them is collected and told in one go.
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
EXPRESSION_PATTERN = r"#\{(?:[^{}]*\})?"
ONE_EXPRESSION = r"#\{[^{}]+\}\Z"
problems = []


def variable(name):
    try:
        return get_octopusvariable(name) or ""
    except KeyError:  # how older versions say that there is none
        return ""


def parameter(name, default, not_set=r"\Z"):
    value = variable(name).strip()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if re.match(not_set, value):
        value = ""
    for expression in re.findall(EXPRESSION_PATTERN, value):
        problems.append(
            f"{name} contains '{expression}', which Octopus did not resolve: expected a variable of that name in scope"
        )
    return value or default


def problem(name, value, expected):
    if any(text.startswith(name + " contains ") for text in problems):
        return  # an unresolved expression says it all
    problems.append(f"{name} is '{value}': expected {expected}")


Answer = collections.namedtuple("Answer", "state, number, message, is_new, wake_key, retry_after")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None  # the token is for this address only


opener = urllib.request.build_opener(NoRedirect)


def ask(method, query="", body=None, block_seconds=0, time_out=20):
    # One call. Besides octowait's states: unknown, interrupted, rejected (asking again is no use).
    request = urllib.request.Request(url + "/api/waits/" + task + query, data=body, method=method)
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Accept", "application/json")
    request.add_header("Content-Type", "application/json; charset=utf-8")
    retry_after = 0
    try:
        try:
            with opener.open(request, timeout=block_seconds + time_out) as response:
                status, text = response.status, response.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode("utf-8", "replace")
            after = error.headers.get("Retry-After") or ""
            retry_after = int(after) if re.match(r"[0-9]{1,4}\Z", after) else 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return Answer("interrupted", 0, str(why) or type(why).__name__, False, None, 0)
    try:
        found = json.loads(text)
        found = found if isinstance(found, dict) else {}
    except ValueError:
        found = {}
    state = str(found.get("state") or found.get("outcome") or "")
    if status in (200, 201) and state:
        number = found.get("fencing_token") or found.get("place") or 0
        message = str(found.get("message") or "")
        return Answer(state, number, message, status == 201, found.get("wake_key"), 0)
    detail = str(found.get("detail") or "not an answer of octowait")
    if status in (200, 201, 408, 429) or status >= 500:
        state = "interrupted"
    elif status == 404 and method == "GET":
        state = "unknown"
    else:
        state = "rejected"
    return Answer(state, 0, f"HTTP {status}: {detail}", False, None, retry_after)


PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")
failures = 0


def draw_pause(most):
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    return PAUSE_SECONDS * min(most, 2 ** min(failures, 5)) * random.uniform(0.5, 1)


def pause(retry_after, until):
    seconds = max(draw_pause(30), retry_after)
    time.sleep(max(0, min(seconds, until - elapsed())))


def finish(text):
    printhighlight(text)
    sys.stdout.flush()
    sys.exit(0)


def not_released(why):
    printwarning(f"Not released: {why} octowait frees the machines when it learns that the task has ended.")
    sys.stdout.flush()
    sys.exit(0)


# 1. Check the parameters.
task = variable("Octopus.Task.Id")
url = parameter("Octowait.Url", "").rstrip("/")
token = parameter("Octowait.Token", "")
OWN_MACHINES = r"(?:[,\s]*|#\{Octopus\.Deployment\.Machines\})\Z"
machine_list = parameter("Octowait.Machines", variable("Octopus.Deployment.Machines"), OWN_MACHINES)

if not re.match(ID_PATTERN, task):
    problem("Octopus.Task.Id", task, "an id such as ServerTasks-4711")
if not re.match(r"https?://[^\s\"\\?{}#]+\Z", url):
    problem("Octowait.Url", url, "an address such as https://octowait.example.com")
if not re.match(r"[!-~]+\Z", token):
    problem("Octowait.Token", "***" if token else "", "a token of the role step")

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
