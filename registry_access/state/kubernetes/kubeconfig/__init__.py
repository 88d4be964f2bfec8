"""Access to clusters: by our own kubeconfig, or by one that somebody else supplied."""
