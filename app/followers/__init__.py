"""Followers of the timeline, each with a cursor: metrics, learner, notifications."""
