"""What happened: the timeline, its records and archive, the intervals and estimates read from it."""
