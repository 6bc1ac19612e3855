"""octowait's own API as a client, over HTTP or in process."""
