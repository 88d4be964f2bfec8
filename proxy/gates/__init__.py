"""May this token pull this? The gates, and what each one asks."""
