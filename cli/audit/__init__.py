"""`akua audit`."""
