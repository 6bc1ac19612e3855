# wait.py: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


VERB = "wait"
PARKED = False
BLOCK_SECONDS = 25
SAY_AGAIN_SECONDS = 30  # with blocking calls of 25 s and pauses of at most 30 s: a line a minute
FIRST_ANSWER_SECONDS = 120  # under WhenUnreachable = proceed
DURATION_PATTERN = r" for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$"

# part: parameters


# part: http


# part: pause


# part: failure


def finish(state, number):
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    set_octopusvariable("Octowait.WaitedSeconds", str(int(elapsed())))
    sys.stdout.flush()
    sys.exit(0)


def show(key, text):
    global shown_key, shown_at
    if key == shown_key and elapsed() - shown_at < SAY_AGAIN_SECONDS:
        return
    shown_key, shown_at = key, elapsed()
    printwait(text)
    updateprogress(min(99, int(elapsed() * 100 / timeout_seconds)), text)
    sys.stdout.flush()


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


def give_up():
    ask("DELETE", "?reason=time-out%20of%20the%20wait%20step", time_out=5)
    fail(f"Gave up after {timeout_minutes} min (Octowait.TimeoutMinutes). {last_message}")


# 1. Check the parameters.
# part: common_parameters

redis_url = parameter("Octowait.RedisUrl", "", ONE_EXPRESSION)
# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
if target:
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
# part: body

# 5. Join the line and block until granted.
patience = timeout_seconds
if when_unreachable == "proceed":
    patience = min(timeout_seconds, FIRST_ANSWER_SECONDS)
shown_key, shown_at = "", 0
has_answered = False  # it gave us a place at least once
in_line = False  # nothing has gone wrong since then
wake_key = None

while True:
    if not has_answered and elapsed() >= patience:
        never_answered()
    if elapsed() >= timeout_seconds:
        give_up()

    if in_line:
        block = min(BLOCK_SECONDS, int(timeout_seconds - elapsed()) + 1)
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
