"""Reading a login from a person or a pipe. A secret comes from a hidden prompt or from standard input, never from an argument."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

import typer

from control.credential.presets import Field
from registry_access.model.errors import InvalidInput

_MAXIMUM = 512 * 1024


def read_values(fields: Sequence[Field], given: Mapping[str, str], title: str) -> dict[str, str]:
    """Values for `fields`: those `given` by options; the rest are prompted for at a terminal or read from standard input.

    Piped standard input is either the single secret or a JSON object of several values by name. Raises InvalidInput.
    """
    values = {field.name: field.value for field in fields if field.value} | {
        name: value for name, value in given.items() if value
    }
    unknown = sorted(values.keys() - {field.name for field in fields})
    if unknown:
        raise InvalidInput(f"{title} does not use it", field=f"--{unknown[0].replace('_', '-')}", remedy="leave it out")
    missing = [field for field in fields if field.name not in values]
    if missing and not sys.stdin.isatty():
        values |= _piped(missing)
    elif missing:
        values |= {field.name: _asked(field) for field in missing}
    still = [field for field in fields if field.required and not values.get(field.name)]
    if still:
        names = ", ".join(f"--{field.name.replace('_', '-')}" for field in still if not field.secret)
        remedy = "; ".join(
            part
            for part in (
                f"give {names}" if names else "",
                "pipe the secret to standard input" if any(field.secret for field in still) else "",
            )
            if part
        )
        raise InvalidInput(f"{' and '.join(field.label.lower() for field in still)} is missing", field=title, remedy=remedy)
    return {name: value for name, value in values.items() if value}


def _asked(field: Field) -> str:
    default = None if field.required else ""
    return str(typer.prompt(field.label, hide_input=field.secret, default=default, show_default=False, err=True))


def _piped(missing: Sequence[Field]) -> dict[str, str]:
    text = sys.stdin.read(_MAXIMUM + 1)
    if len(text) > _MAXIMUM:
        raise InvalidInput("is larger than 512 KiB", field="standard input", remedy="give only the secret")
    secrets = [field for field in missing if field.secret]
    names = {field.name for field in missing}
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    # A service account key is also JSON, but its members are not our fields.
    if isinstance(document, dict) and document and document.keys() <= names:
        return {name: str(value) for name, value in document.items()}
    return {secrets[0].name: text.strip("\r\n")} if len(secrets) == 1 and text.strip() else {}
