"""Analysis of the timeline: a replay of the board from its records, and what is drawn from that."""
