"""The archive: records older than the retention, in files with a hash chain."""
