"""A run's state, its pure steps, their spread over devices, and what is kept of it all."""
