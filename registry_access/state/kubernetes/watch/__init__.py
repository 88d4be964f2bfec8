"""The whole state of a scope, then what changes, and the proof that nothing was missed."""
