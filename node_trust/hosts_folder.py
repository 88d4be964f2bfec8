"""containerd's configuration of one registry host: the folder ``certs.d/HOST`` with ``hosts.toml`` and ``ca.crt``.

containerd reads it at every pull. If it cannot decode a file, it falls back to the host's own name, so each file is replaced as a
whole, the CA first. Files written by others are never touched, and no symbolic link is followed below `config_path`: this runs
as root, and must not write or change a mode wherever somebody else's link points.
(containerd, docs/hosts.md; its loader was tried from 1.6 to 2.2: docs/decisions/0004-basic-for-mirrored-requests.md)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from registry_access.model.errors import InvalidInput
from registry_access.runtime.atomic_write import read_regular_file, remove_leftovers, write_atomically

_AUTHOR = "# Written by akua node-trust"
MARKER = f"{_AUTHOR}, which overwrites it: changes are lost. Run `akua node-trust --remove` to remove it.\n"
HOSTS, CA = "hosts.toml", "ca.crt"
_READABLE, _ENTERABLE = 0o644, 0o755  # nothing here is secret
_FOLDERS_MAXIMUM = 1000  # of other hosts to check
_FILE_MAXIMUM = 1024 * 1024  # bytes; a bundle of CAs has a few thousand


@dataclass(frozen=True, slots=True)
class Trust:
    """Where to reach a host, and the PEM bundle of CAs to trust there.

    `server` is ``https://address[:port]``.
    """

    server: str
    ca: str

    def hosts_toml(self) -> str:
        """`server` alone: never the host's own name. containerd up to 1.7 decodes no file without a `host` table."""
        return f'{MARKER}server = "{self.server}"\nca = "{CA}"\n[host]\n'

    def ca_crt(self) -> str:
        return f"{MARKER}{self.ca.strip()}\n"


class HostsFolder:
    """The folder of `host` below `root`, containerd's `config_path`."""

    def __init__(self, root: Path, host: str) -> None:
        self.path = root / _folder_name(host)
        self._root = root
        self._plain = root / host

    def write(self, trust: Trust) -> bool:
        """Updates the folder and returns whether anything changed. Raises InvalidInput if it is not ours or cannot be written."""
        self._refuse_links()
        self._refuse_foreign()
        wanted = {CA: trust.ca_crt(), HOSTS: trust.hosts_toml()}
        try:
            self.path.mkdir(mode=_ENTERABLE, parents=True, exist_ok=True)
            _open_to_all(self.path)
            remove_leftovers(self.path)
            changed = [name for name, content in wanted.items() if _replace(self.path / name, content)]
        except OSError as error:
            raise _unusable(self.path, error) from error
        return bool(changed)

    def remove(self) -> bool:
        """Removes our files and returns whether there were any; other files stay. Raises InvalidInput if that fails."""
        self._refuse_links()
        return _remove_ours(self.path)

    def remove_others(self) -> Sequence[Path]:
        """Removes what we wrote for other hosts and returns those folders: after a change of AKUA_HOST, no token is valid for the
        old host. Raises InvalidInput if one cannot be removed.
        """
        try:
            with os.scandir(self._root) as entries:
                folders = [entry for entry in islice(entries, _FOLDERS_MAXIMUM) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise _unusable(self._root, error) from error
        others = sorted(Path(entry.path) for entry in folders if Path(entry.path) != self.path)
        return [path for path in others if _is_marked(path) and _remove_ours(path)]

    def _refuse_links(self) -> None:
        if self.path.is_symlink():
            raise InvalidInput(
                "is a symbolic link; akua node-trust writes only into a folder of its own",
                field=str(self.path),
                remedy="remove the link, or do not run node-trust on this node",
            )

    def _refuse_foreign(self) -> None:
        for file in (self.path / HOSTS, self.path / CA, self._plain / HOSTS):
            try:
                ours = _is_ours(file)
            except OSError as error:
                raise _unusable(file, error) from error
            if ours is False:
                raise InvalidInput(
                    "was not written by akua node-trust and is left as it is",
                    field=str(file),
                    remedy="remove it, or keep it and do not run node-trust on this node",
                )


def _folder_name(host: str) -> str:
    """containerd looks for ``name_port_`` first and for ``name:port`` after it (hosts.go, hostDirectory)."""
    name, colon, port = host.rpartition(":")
    return f"{name}_{port}_" if colon and name else host


def _remove_ours(folder: Path) -> bool:
    """Removes our files in `folder` and returns whether there were any. Raises InvalidInput."""
    try:
        # hosts.toml first: without the CA that it names, pulls would fail.
        found = [file for name in (HOSTS, CA) if _is_ours(file := folder / name)]
        for file in found:
            file.unlink()
        with suppress(OSError):  # other files stay, and so does the folder
            remove_leftovers(folder)
            folder.rmdir()
    except OSError as error:
        raise _unusable(folder, error) from error
    return bool(found)


def _is_marked(folder: Path) -> bool:
    """Whether its hosts.toml is ours. Raises InvalidInput."""
    try:
        return _is_ours(folder / HOSTS) is True
    except OSError as error:
        raise _unusable(folder, error) from error


def _replace(file: Path, content: str) -> bool:
    """Replaces `file` if its content differs, and returns whether it did. Raises OSError."""
    if read_regular_file(file, _FILE_MAXIMUM) == content.encode():
        return False
    write_atomically(file, content.encode(), mode=_READABLE)
    return True


def _open_to_all(folder: Path) -> None:
    """Lets every user enter `folder`, regardless of the umask. Raises OSError, also for a symbolic link."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, _ENTERABLE)
    finally:
        os.close(descriptor)


def _is_ours(file: Path) -> bool | None:
    """None if the file does not exist; False for anything but a regular file. Raises OSError."""
    if file.is_symlink() or (file.exists() and not file.is_file()):
        return False
    content = read_regular_file(file, len(_AUTHOR))
    return None if content is None else content.startswith(_AUTHOR.encode())


def _unusable(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"cannot be used: {error.strerror or error}",
        field=str(path),
        remedy="run as the user that owns containerd's config_path (root), or name the folder with --config-path",
    )
