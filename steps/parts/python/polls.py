# How long a call blocks: shorter after one that broke off, for what stands between may cut long ones.
BLOCK_SECONDS = (50, 25, 12, 6)
WHOLE_POLLS = 10  # before a longer one is tried again
POLL_APART_SECONDS = 1
# Of a connection that is refused, before the pauses grow: a server that restarts is back in seconds, and to refuse one
# costs nobody anything.
QUICK_TRIES = 12
block_index = 0
whole_polls = 0
refusals = 0
polled_at = -POLL_APART_SECONDS


def block_seconds():
    return min(BLOCK_SECONDS[block_index], int(timeout_seconds - elapsed()) + 1)


def keep_apart():
    # From the poll before, if that told nothing new.
    global polled_at
    if not told_news:
        time.sleep(max(0, POLL_APART_SECONDS - (elapsed() - polled_at)))
    polled_at = elapsed()


def poll_was_whole():
    global block_index, whole_polls
    whole_polls += 1
    if whole_polls >= WHOLE_POLLS and block_index > 0:
        block_index, whole_polls = block_index - 1, 0


def poll_broke_off(reason):
    global block_index, whole_polls, said_shorter
    block_index, whole_polls = min(block_index + 1, len(BLOCK_SECONDS) - 1), 0
    if not said_shorter:
        said_shorter = True
        say_wait(f"A blocking call broke off ({reason}): asking in shorter ones from now on.")


def is_asked_again():
    # A poll that nobody heard, as it was: the place is what it was. After longer it may be lost: join.
    return was_refused and refusals < QUICK_TRIES


def is_first_refusal():
    # Of which nothing is said: behind a balancer that has lost a backend each other poll is refused.
    return was_refused and refusals == 0


def count_failure():
    global failures, refusals
    if is_asked_again():
        refusals += 1
    else:
        failures += 1
