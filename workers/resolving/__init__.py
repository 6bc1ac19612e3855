"""Parts of the resolve job: lookups in Octopus, the facts of a run, display names, and their cache."""
