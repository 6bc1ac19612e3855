# wait.py: wait until this run may have all its machines to itself (steps/README.md).
# wait.sh and wait.ps1 do the same in the same order. Python 3.6 or newer, no packages.
# The functions of Octopus, such as get_octopusvariable, are there when Octopus runs the script.
# "make steps" writes this file from steps/parts/python.
# ruff: noqa: F821
# part: start


VERB = "wait"
PARKED = False
FIRST_CONTACT_SECONDS = 300 / TIME_DIVISOR
SAY_AGAIN_SECONDS = 60 / TIME_DIVISOR
REDIS_BLOCK_SECONDS = 25
DURATION_PATTERN = r" for [0-9]+ (s|min|h|d)( [0-9]+ (min|h))?\.$"

# part: text


# part: failure


# part: parameters


# part: address


# part: route


# part: claim_id


# part: http


# part: answer


# part: pause


# part: polls


# part: contact


# part: log


def finish(state, number):
    set_octopusvariable("Octowait.State", state)
    set_octopusvariable("Octowait.FencingToken", str(number))
    set_octopusvariable("Octowait.WaitedSeconds", str(int(elapsed())))
    sys.stdout.flush()
    sys.exit(0)


def show(key, text):
    # A line at each change, else one a minute as a sign of life. True if it is news.
    global shown_key, shown_at
    is_news = key != shown_key
    if is_news or elapsed() - shown_at >= SAY_AGAIN_SECONDS:
        shown_key, shown_at = key, elapsed()
        say_wait(text)
        if "updateprogress" in globals():  # Octopus before 2019.7 has none
            updateprogress(min(99, int(elapsed() * 100 / timeout_seconds)), clean(text))
        sys.stdout.flush()
    return is_news


def key_of(answer):
    # What is compared to tell news. Without a word for it: all but durations, and what is expected.
    text = re.sub(DURATION_PATTERN, "", answer.message.split(" Expected ")[0])
    return word(answer, "news") or f"{answer.number} {text}"


def woken(seconds):
    # Blocks on Redis; false when that is not possible and the call itself shall block.
    global redis_client
    if redis_client is None or not wake_key:
        return False
    try:
        redis_client.blpop([wake_key], timeout=min(seconds, REDIS_BLOCK_SECONDS))
        return True
    except Exception as error:
        say_warning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")
        redis_client = None
        return False


def poll():
    keep_apart()
    block = max(1, block_seconds())
    if woken(block):
        # Not 0, which asks whether the grant is confirmed: nobody was told of it yet.
        block = 1
    return ask("GET", f"?block_seconds={block}", limit=block + CALL_SECONDS)


def end():
    # Seconds since the start at which it gives up.
    return timeout_seconds if has_answered else patience()


def give_up():
    if not has_answered:
        never_answered()
    ask("DELETE", "?reason=time-out%20of%20the%20wait%20step", limit=5)
    fail(f"Gave up after {timeout_minutes} min (Octowait.TimeoutMinutes). {last_message}")


# 1. Check the parameters.
# part: common_parameters

redis_url = parameter("Octowait.RedisUrl", "", ONE_EXPRESSION)
# part: line_parameters

# 2. Not on a deployment target: this script would hold the very mutex that others need to finish.
# part: placement

if target:
    fail(
        f"This step runs on the deployment target {target} and would block the very deployment "
        "it waits for: run it on a worker or on the Octopus Server, "
        "or set OctopusBypassDeploymentMutex to True."
    )

# 3. No machines: nothing to wait for.
if not machines:
    say_highlight("This deployment has no machines: nothing to wait for.")
    finish("no_machines", 0)

redis_client = None
if redis_url:
    try:
        import redis

        limits = {"socket_connect_timeout": 10, "socket_timeout": REDIS_BLOCK_SECONDS + 20}
        redis_client = redis.Redis.from_url(redis_url, **limits)
    except (ImportError, ValueError) as error:
        say_warning(f"Octowait.RedisUrl is not usable here ({error}): blocking over HTTP.")


# 4. Say who we are.
# part: body

# 5. Join the line and block until granted.
shown_key, shown_at = "", 0
told_news = True  # by the last answer
said_shorter = False
has_place = False  # it gave us one at least once
in_line = False  # nothing has gone wrong since then
confirmations = 0  # how often a grant that was read was asked for again
wake_key = None
has_asked = False

while True:
    # What was granted is confirmed first, whatever the time.
    if has_asked and confirmations == 0 and elapsed() >= end():
        give_up()
    has_asked = True

    is_poll = in_line and confirmations == 0
    if confirmations > 0:
        answer = ask("GET", "?block_seconds=0")
    elif in_line:
        answer = poll()
    else:
        answer = ask("PUT", body=body)
    if is_refused(answer):
        fail(f"octowait does not let this run wait: {answer.message}")
    listen(answer)
    note(answer)

    if answer.state == "granted" and knows_claims and confirmations == 0:
        confirmations = 1
    elif answer.state == "granted":
        say_highlight(answer.message)
        finish("granted", answer.number)
    elif answer.state == "waiting":
        if has_place and answer.is_new:
            say_wait("The place in the line was lost: joined again at the end.")
        if is_poll:
            failures = refusals = 0
            poll_was_whole()
        has_place, in_line, confirmations = True, True, 0
        wake_key = word(answer, "wake_key")
        last_message = answer.message
        told_news = show(key_of(answer), answer.message)
    elif answer.state in ("silence", "heard") and confirmations == 1:
        confirmations = 2
    elif answer.state in INTERRUPTED:
        # On Redis a PUT: the wake for which the next poll would block may have been taken.
        in_line, confirmations = is_poll and is_asked_again() and redis_client is None, 0
        if is_poll and not was_refused and answer.state in ("silence", "heard"):
            poll_broke_off(answer.message)
        else:
            last_message = f"octowait did not answer ({answer.message})."
            if not (is_poll and is_first_refusal()):
                show("interrupted", f"{last_message} Asking again until the time-out.")
        pause(answer.retry_after, end())
        told_news = True  # no other pause
        count_failure()
    elif answer.state in ("expired", "unknown"):
        say_wait(f"{answer.message} Asking for a place again.")
        in_line, confirmations = False, 0
        pause(0, timeout_seconds)
        failures += 1
    elif answer.state == "timed_out":
        give_up()
    else:
        fail(f"octowait does not let this run wait: {answer.message}")
