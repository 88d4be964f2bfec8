"""Where resources live: one interface, and its adapters (Kubernetes, directory). Nothing here decides about pulls."""
