PAUSE_SECONDS = float(os.environ.get("OCTOWAIT_RETRY_BASE_SECONDS") or "1")
failures = 0


def draw_pause(most):
    # Between half and all of 1, 2, 4 ... s, so that a crowd does not come back all at once.
    return PAUSE_SECONDS * min(most, 2 ** min(failures, 5)) * random.uniform(0.5, 1)


def pause(retry_after, until):
    seconds = max(draw_pause(30), retry_after)
    time.sleep(max(0, min(seconds, until - elapsed())))
