"""Who may hold a connection, how many and for how long. Knows nothing of HTTP."""
