"""The Octopus API: what octowait reads of it, and the only place that knows its field names."""
