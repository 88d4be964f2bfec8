"""How admission would rewrite manifests that are not applied yet. Uses no terminal and writes nothing."""
