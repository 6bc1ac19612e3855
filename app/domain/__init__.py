"""The domain: runs, machines, waits and the rules about them; standard library only."""
