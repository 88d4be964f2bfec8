"""An installation in a cluster, looked at through the API server: by a person's kubeconfig, or from one of our pods."""
