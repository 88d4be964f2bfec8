"""Names: images, registries, repositories, digests. Parsed strictly, printed back as they were."""
