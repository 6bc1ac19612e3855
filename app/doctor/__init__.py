"""What ``octowait doctor`` looks at: everything that a release engineer can get wrong, and what to do about it."""
