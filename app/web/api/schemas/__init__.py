"""The shapes of the HTTP contract: what validates the input also writes the OpenAPI document."""
