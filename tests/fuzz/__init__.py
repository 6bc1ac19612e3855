"""Fuzzers: what is too long for every change, in ``make check-deep``."""
