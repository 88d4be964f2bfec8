"""Checks of the way from nodes to the proxy: its name, its route, its certificate as it is served."""
