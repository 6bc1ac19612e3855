# release.py: give this run's machines back (steps/README.md). Last step, run condition "always".
# release.sh and release.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# It never fails the deployment: what it cannot give back, octowait finds out from Octopus.
# ruff: noqa: F821
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

GIVE_UP_SECONDS = 20
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")


def variable(name):
    try:
        return get_octopusvariable(name) or ""
    except KeyError:  # how older versions say that there is none
        return ""


def parameter(name, default):
    value = variable(name).strip()
    # Octopus leaves an expression that it cannot resolve as it stands.
    if value.startswith("#" + "{") and value.endswith("}"):
        value = ""
    return value or default


problems = []


def problem(name, value, expected):
    problems.append(f"{name} is '{value}': expected {expected}")


def finish(text):
    printwarning(f"{text} octowait frees the machines when it learns that the task has ended.")
    sys.stdout.flush()
    sys.exit(0)


def elapsed():
    return time.monotonic() - started


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None  # the token is for this address only


opener = urllib.request.build_opener(NoRedirect)


def ask(query, time_out):
    # One DELETE: released, left, nothing, interrupted or rejected, and a message.
    request = urllib.request.Request(url + "/api/waits/" + task + query, method="DELETE")
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Accept", "application/json")
    try:
        try:
            with opener.open(request, timeout=time_out) as response:
                status, text = response.status, response.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return "interrupted", str(getattr(error, "reason", None) or error) or type(error).__name__
    try:
        found = json.loads(text)
        found = found if isinstance(found, dict) else {}
    except ValueError:
        found = {}
    if status == 200 and found.get("outcome"):
        return str(found["outcome"]), ""
    detail = str(found.get("detail") or "not an answer of octowait")
    is_passing = status in (200, 408, 429) or status >= 500
    return "interrupted" if is_passing else "rejected", f"HTTP {status}: {detail}"


# Octopus reads UTF-8, line by line.
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "replace", line_buffering=True)
started = time.monotonic()

# 1. Check the parameters.
task = variable("Octopus.Task.Id")
url = parameter("Octowait.Url", "").rstrip("/")
token = parameter("Octowait.Token", "")
machine_list = parameter("Octowait.Machines", variable("Octopus.Deployment.Machines"))

if not re.match(ID_PATTERN, task):
    problem("Octopus.Task.Id", task, "an id such as ServerTasks-4711")
if not re.match(r"https?://[^\s\"\\?{}#]+\Z", url):
    problem("Octowait.Url", url, "an address such as https://octowait.example.com")
if not re.match(r"[!-~]+\Z", token):
    problem("Octowait.Token", "***" if token else "", "a token of the role step")
if problems:
    finish("Not released: " + "; ".join(problems) + ".")

# 2. No machines: nothing was held.
if not machine_list.replace(",", "").strip():
    printhighlight("This deployment has no machines: nothing to release.")
    sys.stdout.flush()
    sys.exit(0)

# 3. Give them back.
reason = "?reason=release%20step%2C%20no%20error%20in%20the%20deployment"
if variable("Octopus.Deployment.Error"):
    reason = "?reason=release%20step%2C%20the%20deployment%20has%20an%20error"
failures = 0

while True:
    outcome, message = ask(reason, 5)
    if outcome == "released":
        printhighlight(f"Released: {task} has given its machines back.")
        break
    if outcome == "left":
        printhighlight(f"Left: {task} was still waiting and has left the line.")
        break
    if outcome == "nothing":
        printhighlight(f"Nothing to release: {task} holds no machines.")
        break
    if outcome != "interrupted":
        finish(f"Not released: {message}.")
    # Between half and all of 1, 2, 4 s, so that a crowd does not come back all at once.
    seconds = PAUSE_SECONDS * min(4, 2**failures) * random.uniform(0.5, 1)
    failures += 1
    if elapsed() + seconds + 5 > GIVE_UP_SECONDS or failures > 5:
        finish(f"Not released: octowait at {url} did not answer ({message}).")
    time.sleep(seconds)
sys.stdout.flush()
