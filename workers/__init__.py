"""Background jobs: one small module a job, the worker that runs them, and the scheduler that enqueues them."""
