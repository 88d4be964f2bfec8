"""`akua credential`."""
