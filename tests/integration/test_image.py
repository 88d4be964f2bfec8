"""The image as hack/image makes it: the same bytes each time, small, non-root, with an SBOM that names what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import requires_program

HACK_IMAGE = Path(__file__).parents[2] / "hack" / "image"
SIZE_MAXIMUM = 110e6  # bytes, compressed; half of it is Debian
pytestmark = pytest.mark.timeout(900)


class Image:
    """An OCI archive of one image."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "akua.tar"
        self.sbom = json.loads((folder / "akua.cdx.json").read_text())
        self.digest: str = self._document("index.json")["manifests"][0]["digest"]
        self.manifest = self._blob(self.digest)
        self.config = self._blob(self.manifest["config"]["digest"])

    def files(self) -> dict[str, tarfile.TarInfo]:
        """Of the layer that is ours, by path."""
        path = _path_of(self.manifest["layers"][-1]["digest"])
        with tarfile.open(self.archive) as blobs, tarfile.open(fileobj=blobs.extractfile(path)) as layer:
            return {entry.name: entry for entry in layer}

    def _blob(self, digest: str) -> dict[str, Any]:
        return self._document(_path_of(digest))

    def _document(self, name: str) -> dict[str, Any]:
        with tarfile.open(self.archive) as blobs:
            file = blobs.extractfile(name)
            assert file is not None
            found: dict[str, Any] = json.load(file)
            return found


def _path_of(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def build(folder: Path, *options: str) -> Image:
    done = subprocess.run([HACK_IMAGE, "--debian", "--output", folder, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{folder}/akua.tar\n"
    return Image(folder)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    for program in ("buildah", "debootstrap"):
        requires_program(program)
    if os.geteuid() != 0:
        pytest.skip("building the base image from Debian's packages needs root")
    return build(tmp_path_factory.mktemp("image"))


def test_another_build_gives_the_same_bytes(image: Image, tmp_path: Path) -> None:
    assert build(tmp_path, "--again").digest == image.digest


def test_it_runs_as_nobody_in_particular(image: Image) -> None:
    assert image.config["config"]["User"] == "65532:65532"
    assert image.config["config"]["Entrypoint"] == ["akua"]
    files = image.files()
    assert not [name for name, entry in files.items() if entry.mode & 0o6000], "set-uid files"
    assert not [name for name, entry in files.items() if entry.mode & 0o002 and not entry.issym()], "writable by everybody"
    assert {name for name, entry in files.items() if entry.uid == 65532} == {"data"}


def test_it_is_small_and_holds_no_tool_for_building(image: Image) -> None:
    assert image.archive.stat().st_size < SIZE_MAXIMUM
    packages = {name.split("/")[5] for name in image.files() if name.startswith("opt/akua/lib/python3") and name.count("/") > 4}
    assert {"cli", "webhook", "proxy", "registry_access", "node_trust"} <= packages
    assert not packages & {"pip", "setuptools", "tests", "pytest"}
    assert sorted(name for name in image.files() if name.startswith("opt/akua/bin/") and "python" not in name) == [
        "opt/akua/bin/akua"
    ]


def test_the_sbom_names_every_locked_package_and_debian(image: Image) -> None:
    purls = {
        component["purl"].replace(".yaml@", "-yaml@") for component in image.sbom["components"]
    }  # ruamel.yaml, locked with "-"
    assert [purl for purl in purls if purl.startswith("pkg:pypi/sqlalchemy@")]
    assert [purl for purl in purls if purl.startswith("pkg:deb/debian/openssl@")]
    locked = (HACK_IMAGE.parents[1] / "requirements.lock").read_text()
    for line in locked.splitlines():
        name, equals, version = line.split(" ")[0].partition("==")
        if equals and ";" not in line:  # a marker may leave it out
            assert f"pkg:pypi/{name.partition('[')[0]}@{version}" in purls
