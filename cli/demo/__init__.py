"""`akua demo`: the whole idea on one machine, step by step, against a real private upstream registry."""
