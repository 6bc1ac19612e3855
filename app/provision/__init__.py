"""What octowait puts into Octopus: subscriptions and step templates."""
