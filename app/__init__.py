"""octowait: one deployment at a time per machine, in order, for its whole length."""

__version__ = "0.1.0"
