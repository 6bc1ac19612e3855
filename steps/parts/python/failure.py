last_message = "octowait has not answered."


def fail(text):
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)
    failstep(text)


def never_answered():
    ask("DELETE", f"?reason=unreachable%20for%20the%20{VERB}%20step", time_out=5)
    silence = f"octowait at {url} has not answered for {int(elapsed())} s"
    if when_unreachable == "fail":
        fail(f"{silence}. {last_message}")
    why = "as Octowait.WhenUnreachable says"
    printwarning(f"{silence}: going on WITHOUT waiting, {why}. {last_message}")
    finish("unreachable", 0)
