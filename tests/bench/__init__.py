"""Measurements against peers, in one run on one machine, as ratios. Nothing here asserts. `make bench` runs them all."""
