"""What octowait is about, in plain Python: no Redis, no HTTP, standard library only."""
