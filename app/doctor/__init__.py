"""The checks of ``octowait doctor``: everything that a release engineer can get wrong, and what to do about it."""
