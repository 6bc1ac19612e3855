"""What the resolve job is made of: lookups in Octopus, the facts of a run, display names, and their cache."""
