"""What admission would make of manifests that are not applied yet. No terminal, no writing."""
