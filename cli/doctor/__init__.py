"""`akua doctor`."""
