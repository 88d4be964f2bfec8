"""Use cases: what a person does, as functions on values. Nothing here knows a terminal or HTTP requests."""
