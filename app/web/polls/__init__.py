"""Polls that block: read, kept while they wait, and answered, many thousands at once."""
