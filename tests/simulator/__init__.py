"""A simulated Octopus Server: README.md says what it does as Octopus does, and what it does not."""
