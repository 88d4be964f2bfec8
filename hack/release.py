"""Cuts a release on this machine: version, changelog, commit, tag, and every artifact with its checksum, SBOM and provenance.

Nothing leaves the machine. The last lines that it prints are the commands that publish.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:(a|b|rc)(0|[1-9]\d*))?", re.ASCII)
_PROJECT_VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)
_IMAGE_TAG = re.compile(r"^(\s*newTag: ).+$", re.MULTILINE)
# The version is pyproject.toml's. These repeat it, because a person copies from them.
IMAGE_TAGS = ("docs/install.md", "manifests/overlays/production/kustomization.yaml")
_BUILD_TYPE = "https://akua.dev/registry-access/hack/release@v1"


class ReleaseError(Exception):
    """A sentence for the person who releases: what is wrong, and the way out."""


def current_version(root: Path) -> str:
    """By pyproject.toml, the one place that has it."""
    found = _PROJECT_VERSION.search((root / "pyproject.toml").read_text("utf-8"))
    if found is None:
        raise ReleaseError('pyproject.toml has no line version = "..."')
    return found[1]


def check_version(wanted: str, present: str, *, first: bool) -> None:
    """Raises ReleaseError unless `wanted` is later than `present`, or the same for the `first` release."""
    if VERSION.fullmatch(wanted) is None:
        raise ReleaseError(f"{wanted!r} is not a version; write one such as 0.2.0 or 0.2.0rc1")
    if _order(wanted) < _order(present) or (wanted == present and not first):
        raise ReleaseError(f"{wanted} is not later than {present}, the version in pyproject.toml")


def _order(version: str) -> tuple[int, int, int, str, int]:
    found = VERSION.fullmatch(version)
    if found is None:
        raise ReleaseError(f"{version!r} is not a version")
    # "final" sorts behind a, b and rc.
    return int(found[1]), int(found[2]), int(found[3]), found[4] or "z", int(found[5] or 0)


def cut(changelog: str, version: str, day: str) -> tuple[str, str]:
    """The changelog with what is under Unreleased under `version`, and that part. Raises ReleaseError when there is nothing."""
    head, mark, rest = changelog.partition("## Unreleased\n")
    if not mark:
        raise ReleaseError("CHANGELOG.md has no section Unreleased")
    found = re.search(r"^## ", rest, re.MULTILINE)
    notes, older = (rest[: found.start()], rest[found.start() :]) if found else (rest, "")
    if not re.search(r"^- ", notes, re.MULTILINE):
        raise ReleaseError("CHANGELOG.md has nothing under Unreleased; say what changed for a user")
    if f"\n## {version} " in changelog:
        raise ReleaseError(f"CHANGELOG.md has a section {version} already")
    notes = notes.strip("\n") + "\n"
    return f"{head}{mark}\n## {version} - {day}\n{notes}{chr(10) + older if older else ''}", notes


def write_version(root: Path, version: str) -> None:
    """Into pyproject.toml and the documents that repeat it."""
    file = root / "pyproject.toml"
    file.write_text(_PROJECT_VERSION.sub(f'version = "{version}"', file.read_text("utf-8"), count=1), "utf-8")
    for name in IMAGE_TAGS:
        text = (root / name).read_text("utf-8")
        (root / name).write_text(_IMAGE_TAG.sub(rf"\g<1>{version}", text), "utf-8")


@dataclass(frozen=True, slots=True)
class Source:
    """What was built: a commit of this repository, and when it was made (seconds since 1970)."""

    commit: str
    tag: str
    time: int


def provenance(
    source: Source, subjects: Mapping[str, str], materials: Mapping[str, str], parameters: Mapping[str, str]
) -> dict[str, Any]:
    """An in-toto statement with a SLSA v1 predicate. `subjects` and `materials`: name -> SHA-256 in hexadecimal.

    It holds no time of the build: the same commit gives the same statement. https://slsa.dev/spec/v1.0/provenance
    """
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in sorted(subjects.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD_TYPE,
                "externalParameters": {"tag": source.tag, **parameters},
                "resolvedDependencies": [
                    {"uri": f"git+.@refs/tags/{source.tag}", "digest": {"gitCommit": source.commit}},
                    *({"uri": name, "digest": {"sha256": digest}} for name, digest in sorted(materials.items())),
                ],
            },
            "runDetails": {"builder": {"id": f"{_BUILD_TYPE}/local"}},
        },
    }


def image_digest(archive: Path) -> str:
    """The manifest's SHA-256 in hexadecimal, by the index of an OCI archive."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("index.json")
        if member is None:
            raise ReleaseError(f"{archive} has no index.json")
        (manifest,) = json.load(member)["manifests"]
    return str(manifest["digest"]).removeprefix("sha256:")


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


class Release:
    """One release of the repository at `root`. Raises ReleaseError, and leaves commit and tag away when anything before fails."""

    def __init__(self, root: Path, version: str, *, image: Sequence[str] | None) -> None:
        self._root = root
        self._version = version
        self._tag = f"v{version}"
        self._image = image
        self.folder = root / "dist" / version

    def run(self, day: str) -> None:
        self._check()
        changelog = self._root / "CHANGELOG.md"
        text, notes = cut(changelog.read_text("utf-8"), self._version, day)
        changelog.write_text(text, "utf-8")
        write_version(self._root, self._version)
        self._git("commit", "--quiet", "--all", "--message", f"Release {self._version}")
        try:
            source = Source(self._git("rev-parse", "HEAD"), self._tag, int(self._git("log", "-1", "--format=%ct")))
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / "NOTES.md").write_text(notes, "utf-8")
            self._build(source)
            self._git("tag", "--annotate", self._tag, "--message", f"Release {self._version}\n\n{notes}", "--cleanup=verbatim")
        except BaseException:
            # As if it had not been begun: the commit is ours, and nothing else was in the tree.
            self._git("reset", "--quiet", "--hard", "HEAD~1")
            raise

    def _check(self) -> None:
        tags = self._git("tag", "--list", "v*").split()
        if self._tag in tags:
            raise ReleaseError(f"the tag {self._tag} exists already; a release is never made twice")
        check_version(self._version, current_version(self._root), first=not tags)
        if changed := self._git("status", "--porcelain"):
            raise ReleaseError(f"there are changes that are not committed; commit or stash them first:\n{changed}")

    def _build(self, source: Source) -> None:
        subjects, parameters = {}, {"version": self._version}
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch) / f"akua_registry_access-{self._version}"
            tree.mkdir()
            archive = self.folder / f"{tree.name}.tar.gz"
            self._git("archive", "--format=tar.gz", f"--prefix={tree.name}/", f"--output={archive}", "HEAD")
            with tarfile.open(archive) as tar:
                tar.extractall(scratch, filter="data")
            self._wheel(tree, source)
            materials = {name: sha256(tree / name) for name in ("requirements.lock", "requirements-dev.lock", "Dockerfile")}
            if self._image is not None:
                name = f"akua-registry-access:{self._version}"
                script = str(self._root / "hack/image")
                self._do([script, *self._image, "--tag", f"localhost/{name}", "--output", str(self.folder)])
                subjects[name] = image_digest(self.folder / "akua.tar")
                parameters["image"] = " ".join(self._image)
        subjects |= {file.name: sha256(file) for file in sorted(self.folder.iterdir())}
        statement = json.dumps(provenance(source, subjects, materials, parameters), indent=1)
        (self.folder / "provenance.json").write_text(statement + "\n", "utf-8")
        sums = [f"{sha256(file)}  {file.name}\n" for file in sorted(self.folder.iterdir())]
        (self.folder / "SHA256SUMS").write_text("".join(sums), "utf-8")

    def _wheel(self, tree: Path, source: Source) -> None:
        """The same bytes each time: files of the commit, dated by it, and the pinned setuptools of .venv."""
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        command += ["--wheel-dir", str(self.folder), str(tree)]
        self._do(command, SOURCE_DATE_EPOCH=str(source.time))

    def _git(self, *words: str) -> str:
        return self._do(["git", "-C", str(self._root), *words])

    def _do(self, command: Sequence[str], **environment: str) -> str:
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **environment})
        except FileNotFoundError as error:
            raise ReleaseError(f"{command[0]} is needed; install it") from error
        except subprocess.CalledProcessError as error:
            raise ReleaseError(f"{' '.join(command[:4])} failed:\n{(error.stderr or error.stdout).strip()[-2000:]}") from error
        return done.stdout.strip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="such as 0.2.0")
    parser.add_argument("--image", default="", help="arguments for hack/image, such as --debian or '--base IMAGE'")
    parser.add_argument("--no-image", action="store_true", help="no container image")
    given = parser.parse_args(arguments)
    release = Release(Path.cwd(), given.version, image=None if given.no_image else given.image.split())
    try:
        release.run(datetime.now(UTC).strftime("%Y-%m-%d"))
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"Release {given.version} is in {release.folder}. To publish it:\n  git push origin HEAD v{given.version}")
    if not given.no_image:
        print(f"  skopeo copy oci-archive:{release.folder}/akua.tar docker://REGISTRY/akua-registry-access:{given.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
