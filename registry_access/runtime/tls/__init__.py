"""Our own CA, and the certificates that servers present."""
