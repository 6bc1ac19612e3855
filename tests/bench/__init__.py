"""Speed and memory of octowait beside what else there is, both measured in the same run: ``python -m tests.bench``."""
