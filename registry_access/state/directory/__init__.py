"""State as YAML manifests in a folder, watched: what works with `kubectl apply -f` works by dropping the file there."""

from registry_access.state.directory.store import DirectoryStore

__all__ = ["DirectoryStore"]
