"""A small private registry for the demo and the tests, with images made in memory."""
