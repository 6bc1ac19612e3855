"""Those who read the timeline from a cursor: metrics, learner, notifications."""
