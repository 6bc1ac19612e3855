"""History: the timeline, its stored records and archive, and the intervals and estimates read from it."""
