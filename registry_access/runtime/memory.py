"""What a process that runs for months tells its memory management."""

from __future__ import annotations

import gc


def freeze_long_lived() -> None:
    """What is held now is held for long: the collector need not look through it again, which takes it a tenth of a second."""
    gc.collect()
    gc.freeze()
