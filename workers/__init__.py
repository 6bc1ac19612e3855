"""What runs beside the web: one small module a job, the worker that runs them and the schedule that asks for them."""
