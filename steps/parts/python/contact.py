SILENCE_SECONDS = 120 / TIME_DIVISOR  # before "proceed" goes on
TOKEN_SECONDS = 60 / TIME_DIVISOR  # for a token that was good before
has_answered = False  # octowait itself, if only with a problem
heard = ""  # what else answered in its place
refused_since = None
last_message = "octowait has not answered."


def is_refused(answer):
    # Asking again is no use. A token may be refused for a moment while octowait restarts.
    global refused_since
    if answer.state != "token":
        if answer.state not in ("silence", "heard"):
            refused_since = None
        return answer.state == "rejected"
    if refused_since is None:
        refused_since = elapsed()
    return not has_answered or elapsed() - refused_since >= TOKEN_SECONDS


def listen(answer):
    global has_answered, heard
    if answer.state == "heard":
        heard = answer.message
    elif answer.state != "silence":
        has_answered = True


def patience():
    # Seconds that a step asks without having reached octowait.
    if when_unreachable == "proceed" and not heard:
        return min(timeout_seconds, SILENCE_SECONDS)
    return min(timeout_seconds, FIRST_CONTACT_SECONDS)


def never_answered():
    ask("DELETE", f"?reason=unreachable%20for%20the%20{VERB}%20step", limit=5)
    silence = f"octowait at {url} has not answered for {int(elapsed())} s"
    if when_unreachable == "fail":
        fail(f"{silence}. {last_message}")
    if heard:
        other = f"octowait did not answer ({heard})."
        fail(f"{silence}, but something else did: not going on without waiting. {other}")
    why = "as Octowait.WhenUnreachable says"
    say_warning(f"{silence}: going on WITHOUT waiting, {why}. {last_message}")
    finish("unreachable", 0)
