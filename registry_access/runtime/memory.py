"""What a process that runs for months tells its allocators."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc
_LARGE = 128 * 1024


def keep_large_blocks_apart() -> None:
    """Each connection with TLS has a buffer of 256 KiB of which it touches little.

    glibc gives such blocks pages of their own only until the first of them is freed; from then on they would be cut out of the
    heap, from pages in use already: 8 MB for thirty watches. Other libraries than glibc are left as they are.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE)


def settle() -> None:
    """What is held now is held for long: the collector need not look through it again, which takes it a tenth of a second."""
    gc.collect()
    gc.freeze()
