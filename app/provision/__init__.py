"""Provisioning of Octopus: the subscriptions and step templates that octowait puts there."""
