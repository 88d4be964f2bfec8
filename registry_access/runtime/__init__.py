"""Process plumbing: logging, metrics, health, serving. Knows nothing of registries or pods."""
