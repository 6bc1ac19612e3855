"""Chaos: real processes of octowait under a seeded workload and seeded faults, and a checker of what came of it.

Read in this order: `plan` (what is done, a pure function of a seed), `workload` and `nemesis` (who does it), `history`
(what the clients saw), `checker` (what must hold), `experiment` (all of it together).
"""
