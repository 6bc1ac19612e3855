# claim.py: take this run's place in line and leave, so that waiting uses no task slot (steps/README.md).
# claim.sh and claim.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
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

GIVE_UP_SECONDS = 60
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")

Answer = collections.namedtuple("Answer", "state, number, message, retry_after")


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


def fail(text):
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
    failstep(text)


def finish(granted, state, number):
    set_octopusvariable("Octowait.Granted", granted)
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    sys.stdout.flush()
    sys.exit(0)


def elapsed():
    return time.monotonic() - started


def named(kind, name_variable, label):
    thing = {"id": variable(kind + ".Id") or None, label: variable(name_variable) or None}
    return thing if any(thing.values()) else None


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None  # the token is for this address only


opener = urllib.request.build_opener(NoRedirect)


def ask(method, query="", body=None, time_out=20):
    # One call. Besides octowait's states: interrupted, rejected (asking again is no use).
    request = urllib.request.Request(url + "/api/waits/" + task + query, data=body, method=method)
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Accept", "application/json")
    request.add_header("Content-Type", "application/json; charset=utf-8")
    retry_after = 0
    try:
        try:
            with opener.open(request, timeout=time_out) as response:
                status, text = response.status, response.read().decode("utf-8")
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode("utf-8", "replace")
            after = error.headers.get("Retry-After") or ""
            retry_after = int(after) if re.match(r"[0-9]{1,4}\Z", after) else 0
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return Answer("interrupted", 0, str(why) or type(why).__name__, 0)
    try:
        found = json.loads(text)
        found = found if isinstance(found, dict) else {}
    except ValueError:
        found = {}
    state = str(found.get("state") or found.get("outcome") or "")
    if status in (200, 201) and state:
        return Answer(state, found.get("fencing_token") or 0, str(found.get("message") or ""), 0)
    detail = str(found.get("detail") or "not an answer of octowait")
    is_passing = status in (200, 201, 408, 429) or status >= 500
    return Answer("interrupted" if is_passing else "rejected", 0, f"HTTP {status}: {detail}", retry_after)


def pause(retry_after):
    # Between half and all of 1, 2, 4 ... 30 s, so that a crowd does not come back all at once.
    whole = PAUSE_SECONDS * min(30, 2 ** min(failures, 5))
    seconds = max(whole * random.uniform(0.5, 1), retry_after)
    time.sleep(max(0, min(seconds, patience - elapsed())))


def never_answered():
    ask("DELETE", "?reason=unreachable%20for%20the%20claim%20step", time_out=5)
    silence = f"octowait at {url} has not answered for {int(elapsed())} s"
    if when_unreachable == "fail":
        fail(f"{silence}. {last_message}")
    why = "as Octowait.WhenUnreachable says"
    printwarning(f"{silence}: going on WITHOUT waiting, {why}. {last_message}")
    finish("True", "unreachable", 0)


# Octopus reads UTF-8, line by line.
sys.stdout = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "replace", line_buffering=True)
sys.stderr = io.TextIOWrapper(sys.stderr.buffer, "utf-8", "replace", line_buffering=True)
started = time.monotonic()

# 1. Check the parameters.
task = variable("Octopus.Task.Id")
url = parameter("Octowait.Url", "").rstrip("/")
token = parameter("Octowait.Token", "")
timeout_minutes = parameter("Octowait.TimeoutMinutes", "120")
priority = parameter("Octowait.Priority", "0")
on_behalf_of = parameter("Octowait.OnBehalfOf", "")
when_unreachable = parameter("Octowait.WhenUnreachable", "fail")
machine_list = parameter("Octowait.Machines", variable("Octopus.Deployment.Machines"))

machines = [machine.strip() for machine in machine_list.split(",") if machine.strip()]
timeout_seconds = 0
if re.match(r"[0-9]{1,5}(\.[0-9]{1,3})?\Z", timeout_minutes):
    timeout_seconds = int(round(float(timeout_minutes) * 1000)) * 60 // 1000

if not re.match(ID_PATTERN, task):
    problem("Octopus.Task.Id", task, "an id such as ServerTasks-4711")
if not re.match(r"https?://[^\s\"\\?{}#]+\Z", url):
    problem("Octowait.Url", url, "an address such as https://octowait.example.com")
if not re.match(r"[!-~]+\Z", token):
    problem("Octowait.Token", "***" if token else "", "a token of the role step")
if not 1 <= timeout_seconds <= 604800:
    problem("Octowait.TimeoutMinutes", timeout_minutes, "minutes above 0, at most 10080")
if not re.match(r"-?[0-9]{1,7}\Z", priority) or not -1000000 <= int(priority) <= 1000000:
    problem("Octowait.Priority", priority, "a whole number from -1000000 to 1000000")
if on_behalf_of and not re.match(ID_PATTERN, on_behalf_of):
    problem("Octowait.OnBehalfOf", on_behalf_of, "nothing, or an id such as ServerTasks-4711")
if when_unreachable not in ("fail", "proceed"):
    problem("Octowait.WhenUnreachable", when_unreachable, "fail or proceed")
for machine in machines:
    if not re.match(ID_PATTERN, machine):
        problem("Octowait.Machines", machine, "ids such as Machines-7, separated by commas")
if problems:
    fail("; ".join(problems) + ".")

# 2. Not on a deployment target: there this script would wait for the mutex, in a task slot and in no line.
target = variable("Octopus.Machine.Id")
if target and variable("OctopusBypassDeploymentMutex").lower() != "true":
    fail(
        f"This step runs on the deployment target {target} and would wait there for other scripts, "
        "in a task slot and before it has a place in line: "
        "run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    printhighlight("This deployment has no machines: nothing to wait for.")
    finish("True", "no_machines", 0)

# 4. Say who we are.
server, link = variable("Octopus.Web.ServerUri").rstrip("/"), variable("Octopus.Web.DeploymentLink")
body = json.dumps(
    {
        "space_id": variable("Octopus.Space.Id") or None,
        "machines": machines,
        "deployment_id": variable("Octopus.Deployment.Id") or None,
        "runbook_run_id": variable("Octopus.RunbookRun.Id") or None,
        "project": named("Octopus.Project", "Octopus.Project.Name", "name"),
        "environment": named("Octopus.Environment", "Octopus.Environment.Name", "name"),
        "release": named("Octopus.Release", "Octopus.Release.Number", "version"),
        "tenant": named("Octopus.Deployment.Tenant", "Octopus.Deployment.Tenant.Name", "name"),
        "url": server + link if re.match(r"https?://", server) and link else None,
        "priority": int(priority),
        "timeout_seconds": timeout_seconds,
        "on_behalf_of": on_behalf_of or None,
        "parked": True,
    }
).encode("utf-8")

# 5. Take a place in line and leave.
patience = min(timeout_seconds, GIVE_UP_SECONDS)
last_message = "octowait has not answered."
failures = 0

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
        finish("False", "waiting", 0)
    elif answer.state == "granted":
        printhighlight(answer.message)
        finish("True", "granted", answer.number)
    elif answer.state == "interrupted":
        last_message = f"octowait did not answer ({answer.message})."
        printwait(f"{last_message} Asking again until {patience} s have passed.")
        sys.stdout.flush()
        pause(answer.retry_after)
        failures += 1
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
