"""Pushing content into a registry by plain HTTP (distribution-spec, "Pushing"), so that tests need no second client."""

from __future__ import annotations

import httpx

from demo_registry.image import Repository, digest_of


def push_repository(client: httpx.Client, name: str, repository: Repository) -> None:
    """Pushes every blob, every manifest by digest (images before indexes), and every tag."""
    for content in repository.blobs.values():
        push_blob(client, name, content)
    ordered = sorted(repository.manifests.values(), key=lambda stored: "index" in stored.media_type)
    for stored in ordered:
        for reference in [stored.digest, *(tag for tag, digest in repository.tags.items() if digest == stored.digest)]:
            answer = client.put(
                f"/v2/{name}/manifests/{reference}", content=stored.content, headers={"Content-Type": stored.media_type}
            )
            answer.raise_for_status()


def push_blob(client: httpx.Client, name: str, content: bytes) -> str:
    """Pushes one blob and returns its digest."""
    digest = digest_of(content)
    started = client.post(f"/v2/{name}/blobs/uploads/")
    started.raise_for_status()
    location = httpx.URL(started.headers["location"]).copy_merge_params({"digest": digest})
    client.put(location, content=content, headers={"Content-Type": "application/octet-stream"}).raise_for_status()
    return digest
