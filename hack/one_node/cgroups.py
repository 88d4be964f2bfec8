"""Control groups v2: their controllers must be handed down before containers get groups of their own. v1 needs nothing."""

from __future__ import annotations

from pathlib import Path

from .errors import ClusterError

ROOT = Path("/sys/fs/cgroup")
_NEEDED = ("cpu", "memory", "pids")


def hand_down(root: Path = ROOT) -> None:
    """Enables what containers need below the root, as runc does too. Raises ClusterError with the way out."""
    available = root / "cgroup.controllers"
    if not available.exists():
        return  # v1, or both side by side: each controller is a hierarchy of its own
    here = available.read_text().split()
    if lacking := [name for name in _NEEDED if name not in here]:
        raise ClusterError(
            f"{root} has no controller {', '.join(lacking)}: whoever started this container or session must delegate it"
        )
    handed = root / "cgroup.subtree_control"
    missing = [name for name in _NEEDED if name not in handed.read_text().split()]
    if not missing:
        return
    try:
        handed.write_text(" ".join(f"+{name}" for name in missing))
    except OSError as error:
        # cgroups(7), "no internal processes": only the machine's own root may hold processes and hand down.
        raise ClusterError(
            f"{handed} does not take {', '.join(missing)} ({error.strerror}): inside a container, move its processes into a "
            f"group of their own first: mkdir {root}/init; xargs -rn1 < {root}/cgroup.procs > {root}/init/cgroup.procs"
        ) from error
