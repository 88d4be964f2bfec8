"""Which installs are to be looked at, and when."""
