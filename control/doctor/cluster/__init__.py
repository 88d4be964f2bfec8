"""Checks of an installation in a cluster through the API server, with a user's kubeconfig or from one of our pods."""
