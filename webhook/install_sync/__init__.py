"""The install sync: installs compiled into pull grants and pull Secrets of their target namespaces, and kept so."""
