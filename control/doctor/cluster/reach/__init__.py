"""Checks of the path from nodes to the proxy: its name, its route and its served certificate."""
