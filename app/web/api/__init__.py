"""The HTTP API: webhook, waits, machines, timeline, insight."""
