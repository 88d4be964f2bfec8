"""Certificates of our own making in a cluster: a CA, serving certificates, and what must trust them. One leader keeps them."""
