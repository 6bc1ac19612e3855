"""The gate on Redis: scripts that decide in one atomic step, and the reading and waiting around them."""
