def fail(text):
    sys.stdout.flush()
    print(clean(text), file=sys.stderr, flush=True)
    failstep(clean(text))
    sys.exit(1)  # whatever failstep does
