"""State as YAML manifests in a folder, watched: what works with `kubectl apply -f` works by dropping the file there."""
