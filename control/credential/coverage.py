"""Which images a credential opens."""

from __future__ import annotations

from collections.abc import Collection

from control.session import Session
from proxy.gates.credential_choice import best_fitting
from webhook.attribution import PulledImage


def images_opened_by(session: Session, credential: str, images: Collection[PulledImage]) -> list[PulledImage]:
    """The `images` for which the named credential of the workspace is the longest match."""

    def opens(image: PulledImage) -> bool:
        candidates = session.index.credentials(session.workspace, image.upstream.registry)
        return any(each.metadata.name == credential for each in best_fitting(candidates, image.upstream.repository))

    return [image for image in images if opens(image)]
