"""Redis: connection, keys, scripts, errors, persistence; the only importer of `redis`."""
