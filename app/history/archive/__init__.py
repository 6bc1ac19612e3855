"""The timeline older than its retention, in files with a chain of hashes."""
