claim = os.urandom(16).hex()  # of this execution of the step
