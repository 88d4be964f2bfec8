"""One invocation of `akua` and the sources of its settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry_access.settings import Settings, load_settings

DEFAULT_FOLDER = Path(".akua")


@dataclass(slots=True)
class Invocation:
    """The global options. `folder` holds state, audit trail and certificates unless settings say otherwise."""

    config: Path | None = None
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def settings(self, **given: str) -> Settings:
        """Settings, with `given` (by field name, as text) over environment and file. Raises InvalidSettings."""
        environment = dict(self.environment)
        if self.folder is not None:
            environment["AKUA_STATE"] = f"directory:{self.folder / 'state'}"
            environment["AKUA_AUDIT_DSN"] = f"sqlite:///{self.folder / 'audit.db'}"
        environment.update({f"AKUA_{name.upper()}": value for name, value in given.items() if value})
        return load_settings(environment, self.config)

    @property
    def home(self) -> Path:
        return self.folder or DEFAULT_FOLDER
