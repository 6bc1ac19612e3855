"""Access: who asks, what a token may do, and whose a run is."""
