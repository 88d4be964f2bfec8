"""Pure values and rules: no I/O, no clock, no environment. Time and keys come in as arguments."""
