"""Adding and trying registry credentials."""
