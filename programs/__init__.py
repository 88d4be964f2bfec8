"""What runs for long: one composition root per program, and how a process starts, drains and stops."""
