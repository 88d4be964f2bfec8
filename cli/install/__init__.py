"""`akua install`."""
