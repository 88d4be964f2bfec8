"""Use cases: what a user does, as functions on values. Nothing here depends on a terminal or on HTTP requests."""
