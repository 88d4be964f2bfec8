"""Replacing a file as a whole: a reader, or a crash, sees the old content or the new one, never a part.

Safe for root in a folder where others can write: nothing here follows a symbolic link at the file or at its temporary name.
(open(2): O_EXCL never follows one; rename(2) replaces a link, not what it points to.)
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = ".writing-"  # the rest of a temporary name is random, so that nobody can be there first


def write_atomically(path: Path, content: bytes, *, mode: int) -> None:
    """Replaces `path` by a file of `content` and `mode`, whatever the umask, in a folder that exists. Raises OSError.

    A symbolic link at `path` is replaced; the file it points to keeps its content and mode.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_PREFIX)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)  # not by name, which may be another file by now
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_regular_file(path: Path, maximum: int) -> bytes | None:
    """At most `maximum` bytes of the regular file `path`; None when there is none. Never waits, as a read of a FIFO would.

    Raises OSError, for anything else of that name too: a symbolic link (even one that leads nowhere), a folder, a device.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read(maximum)


def remove_leftovers(folder: Path) -> None:
    """Removes the temporary files of writers that were killed. Only for a folder with one writer."""
    for leftover in folder.glob(f"{_PREFIX}*"):
        with suppress(OSError):
            leftover.unlink()


def sync_folder(folder: Path) -> None:
    """Makes renames and removals in `folder` survive a crash."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
