"""Process plumbing: settings, logging, metrics, health, serving. Knows nothing of registries or pods."""
