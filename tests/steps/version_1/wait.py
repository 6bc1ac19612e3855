# wait.py: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# ruff: noqa: F821
import collections
import http.client
import io
import json
import math
import os
import random
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

BLOCK_SECONDS = 25
SAY_AGAIN_SECONDS = 30  # with blocking calls of 25 s and pauses of at most 30 s: a line a minute
FIRST_ANSWER_SECONDS = 120  # under WhenUnreachable = proceed
ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}\Z"
DURATION_PATTERN = r" for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$"
PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")

Answer = collections.namedtuple("Answer", "state, number, message, is_new, wake_key, retry_after")


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


def finish(state, number):
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    set_octopusvariable("Octowait.WaitedSeconds", str(int(elapsed())))
    sys.stdout.flush()
    sys.exit(0)


def elapsed():
    return time.monotonic() - started


def show(key, text):
    global shown_key, shown_at
    if key == shown_key and elapsed() - shown_at < SAY_AGAIN_SECONDS:
        return
    shown_key, shown_at = key, elapsed()
    printwait(text)
    updateprogress(min(99, int(elapsed() * 100 / timeout_seconds)), text)
    sys.stdout.flush()


def named(kind, name_variable, label):
    thing = {"id": variable(kind + ".Id") or None, label: variable(name_variable) or None}
    return thing if any(thing.values()) else None


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


def pause(retry_after, until):
    # Between half and all of 1, 2, 4 ... 30 s, so that a crowd does not come back all at once.
    whole = PAUSE_SECONDS * min(30, 2 ** min(failures, 5))
    seconds = max(whole * random.uniform(0.5, 1), retry_after)
    time.sleep(max(0, min(seconds, until - elapsed())))


def woken(seconds):
    # Blocks on Redis; false when that is not possible and the call itself shall block.
    global redis_client
    if redis_client is None or not wake_key:
        return False
    try:
        redis_client.blpop([wake_key], timeout=seconds)
        return True
    except Exception as error:
        printwarning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")
        redis_client = None
        return False


def never_answered():
    ask("DELETE", "?reason=unreachable%20for%20the%20wait%20step", time_out=5)
    silence = f"octowait at {url} has not answered for {int(elapsed())} s"
    if when_unreachable == "fail":
        fail(f"{silence}. {last_message}")
    why = "as Octowait.WhenUnreachable says"
    printwarning(f"{silence}: going on WITHOUT waiting, {why}. {last_message}")
    finish("unreachable", 0)


def give_up():
    ask("DELETE", "?reason=time-out%20of%20the%20wait%20step", time_out=5)
    fail(f"Gave up after {timeout_minutes} min (Octowait.TimeoutMinutes). {last_message}")


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
redis_url = parameter("Octowait.RedisUrl", "")

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

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
target = variable("Octopus.Machine.Id")
if target and variable("OctopusBypassDeploymentMutex").lower() != "true":
    fail(
        f"This step runs on the deployment target {target} and would block the very deployment "
        "it waits for: run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    printhighlight("This deployment has no machines: nothing to wait for.")
    finish("no_machines", 0)

redis_client = None
if redis_url:
    try:
        import redis

        limits = {"socket_connect_timeout": 10, "socket_timeout": BLOCK_SECONDS + 20}
        redis_client = redis.Redis.from_url(redis_url, **limits)
    except (ImportError, ValueError) as error:
        printwarning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")

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
        "parked": False,
    }
).encode("utf-8")

# 5. Join the line and block until granted.
patience = timeout_seconds
if when_unreachable == "proceed":
    patience = min(timeout_seconds, FIRST_ANSWER_SECONDS)
last_message = "octowait has not answered."
shown_key, shown_at = "", 0
failures = 0
has_answered = False  # it gave us a place at least once
in_line = False  # nothing has gone wrong since then
wake_key = None

while True:
    if not has_answered and elapsed() >= patience:
        never_answered()
    if elapsed() >= timeout_seconds:
        give_up()

    if in_line:
        block = int(min(BLOCK_SECONDS, math.ceil(timeout_seconds - elapsed())))
        if woken(block):
            block = 0
        answer = ask("GET", f"?block_seconds={block}", block_seconds=block)
    else:
        answer = ask("PUT", body=body)

    if answer.state == "waiting":
        if has_answered and answer.is_new:
            printwait("The place in the line was lost: joined again at the end.")
        if in_line:
            failures = 0
        has_answered, in_line, wake_key = True, True, answer.wake_key
        last_message = answer.message
        # What is expected changes with every look, and is no news by itself.
        key = re.sub(DURATION_PATTERN, "", answer.message.split(" Expected ")[0])
        show(f"{answer.number} {key}", answer.message)
    elif answer.state == "granted":
        printhighlight(answer.message)
        finish("granted", answer.number)
    elif answer.state in ("expired", "unknown"):
        printwait(f"{answer.message} Asking for a place again.")
        in_line = False
        pause(0, timeout_seconds)
        failures += 1
    elif answer.state == "interrupted":
        last_message = f"octowait did not answer ({answer.message})."
        show("interrupted", f"{last_message} Asking again until the time-out.")
        in_line = False
        pause(answer.retry_after, timeout_seconds if has_answered else patience)
        failures += 1
    elif answer.state == "timed_out":
        give_up()
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
