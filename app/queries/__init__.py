"""Queries: answers composed of board, history and names; no Flask."""
