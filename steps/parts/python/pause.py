PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")
MOST_RETRY_AFTER_SECONDS = 30 / TIME_DIVISOR
failures = 0


def draw_pause(most):
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    return PAUSE_SECONDS * min(most, 2 ** min(failures, 5)) * random.uniform(0.5, 1)


def pause(retry_after, until):
    seconds = max(draw_pause(30), min(retry_after, MOST_RETRY_AFTER_SECONDS))
    time.sleep(max(0, min(seconds, until - elapsed())))
