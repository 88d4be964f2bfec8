"""`akua image`: parse image references and show their names at the proxy."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import typer

from cli.session import invocation
from cli.terminal.presentation import show_json
from registry_access.model.errors import InvalidImageReference
from registry_access.model.names.image_reference import parse_image_reference
from registry_access.model.names.proxied_reference import Unchanged, to_proxied


def image(
    context: typer.Context,
    references: Annotated[
        list[str] | None, typer.Argument(help="Image references. Default: one per line on standard input.", show_default=False)
    ] = None,
    host: Annotated[str, typer.Option("--host", help="The proxy's name in images. Default: the host setting.")] = "",
) -> None:
    """Parse image references and show their names at the proxy, as one JSON object per line.

    Each object has input, valid, registry, repository, tag, digest, familiar, proxied and reason (why it is invalid, or why
    it has no name at the proxy). Exits with 0 even for invalid references.

    Examples:

      akua image redis ghcr.io/acme/storefront:1.4

      kubectl get pods -A -o jsonpath='{..image}' | tr ' ' '\\n' | akua image | jq -r .proxied
    """
    name = invocation(context).settings(host=host).host
    given: Iterable[str] = references if references else _lines()
    for reference in given:
        show_json(described(reference, name), indent=None)


def described(text: str, host: str) -> dict[str, object]:
    """One reference as `akua image` prints it; a field that does not apply is ""."""
    result: dict[str, object] = {"input": text, "valid": False}
    result |= dict.fromkeys(("registry", "repository", "tag", "digest", "familiar", "proxied", "reason"), "")
    try:
        parsed = parse_image_reference(text)
    except InvalidImageReference as error:
        return result | {"reason": error.problem}
    result |= {
        "valid": True,
        "registry": parsed.registry,
        "repository": parsed.repository,
        "tag": parsed.tag,
        "digest": parsed.digest,
        "familiar": parsed.familiar,
    }
    proxied = to_proxied(parsed, host)
    if isinstance(proxied, Unchanged):
        return result | {"reason": str(proxied.reason)}
    return result | {"proxied": proxied.reference}


def _lines() -> Iterator[str]:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    for line in sys.stdin:
        # Strip only the line ending: an empty line is an empty reference.
        yield line.rstrip("\r\n")
