"""Releases: the version from one place, a changelog that is cut, and artifacts that say where they come from."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hack.release import IMAGE_TAGS, Release, ReleaseError, Source, check_version, current_version, cut, image_digest, provenance

ROOT = Path(__file__).parents[3]
CHANGELOG = "# Changelog\n\n## Unreleased\n### Added\n- A thing.\n\n## 0.1.0 - 2026-01-01\n- The first.\n"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_everything_that_repeats_the_version_says_the_same() -> None:
    version = current_version(ROOT)
    for name in IMAGE_TAGS:
        assert f"newTag: {version}\n" in (ROOT / name).read_text("utf-8"), name


@pytest.mark.parametrize("wanted", ["0.2.0", "1.0.0", "0.1.1", "0.10.0", "0.2.0rc1"])
def test_a_later_version_is_taken(wanted: str) -> None:
    check_version(wanted, "0.1.0", first=False)


@pytest.mark.parametrize(
    "wanted", ["0.1.0", "0.0.9", "0.1.0rc1", "v0.2.0", "0.2", "0.2.0-1", "00.2.0", "0.2.0\n", "\u0660.2.0", ""]
)
def test_what_is_not_a_later_version_is_refused(wanted: str) -> None:
    with pytest.raises(ReleaseError):
        check_version(wanted, "0.1.0", first=False)


def test_a_candidate_is_followed_by_its_release() -> None:
    check_version("0.2.0", "0.2.0rc2", first=False)
    check_version("0.1.0", "0.1.0", first=True)


def test_the_changelog_is_cut() -> None:
    text, notes = cut(CHANGELOG, "0.2.0", "2026-02-03")
    assert notes == "### Added\n- A thing.\n"
    assert text == (
        "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-02-03\n### Added\n- A thing.\n\n## 0.1.0 - 2026-01-01\n- The first.\n"
    )
    with pytest.raises(ReleaseError, match="nothing under Unreleased"):
        cut(text, "0.3.0", "2026-02-04")
    with pytest.raises(ReleaseError, match=r"0\.1\.0 already"):
        cut(CHANGELOG, "0.1.0", "2026-02-04")
    with pytest.raises(ReleaseError, match="no section Unreleased"):
        cut("# Changelog\n", "0.1.0", "2026-02-04")


def test_the_projects_own_changelog_can_be_cut() -> None:
    cut((ROOT / "CHANGELOG.md").read_text("utf-8"), "99.0.0", "2099-01-01")


def test_provenance_names_the_commit_and_every_artifact() -> None:
    statement = provenance(
        Source("c0ffee", "v0.2.0", 0), {"b.whl": "22", "a.tar": "11"}, {"requirements.lock": "33"}, {"version": "0.2.0"}
    )
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [subject["digest"]["sha256"] for subject in statement["subject"]] == ["11", "22"]
    first, second = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert first["digest"] == {"gitCommit": "c0ffee"}
    assert second == {"uri": "requirements.lock", "digest": {"sha256": "33"}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project of the same shape, committed."""
    root = tmp_path / "project"
    (root / "akua").mkdir(parents=True)
    (root / "akua/__init__.py").write_text("")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=80"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "akua-registry-access"\nversion = "0.1.0"\n[tool.setuptools]\npackages = ["akua"]\n'
    )
    for name in ("requirements.lock", "requirements-dev.lock", "Dockerfile"):
        (root / name).write_text(name)
    (root / "CHANGELOG.md").write_text(CHANGELOG.replace("0.1.0", "0.0.1"))
    (root / ".gitignore").write_text("dist/\nbuild/\n*.egg-info/\n")
    for name in IMAGE_TAGS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("images:\n  - name: akua\n    newTag: 0.1.0\n")
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "a")
    git(root, "config", "user.email", "a@example.com")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def test_a_release_from_end_to_end(project: Path) -> None:
    git(project, "tag", "v0.1.0")
    release = Release(project, "0.2.0", image=None)
    release.run("2026-02-03")
    assert git(project, "tag", "--list").split() == ["v0.1.0", "v0.2.0"]
    assert "- A thing." in git(project, "tag", "--list", "--format=%(contents)", "v0.2.0")
    assert git(project, "status", "--porcelain") == ""
    assert current_version(project) == "0.2.0"
    assert yaml.safe_load((project / IMAGE_TAGS[1]).read_text())["images"][0]["newTag"] == "0.2.0"
    names = {file.name for file in release.folder.iterdir()}
    wheel, source = "akua_registry_access-0.2.0-py3-none-any.whl", "akua_registry_access-0.2.0.tar.gz"
    assert names == {wheel, source, "NOTES.md", "provenance.json", "SHA256SUMS"}
    lines = [line.partition("  ") for line in (release.folder / "SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, _, name in lines}
    assert set(sums) == names - {"SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((release.folder / name).read_bytes()).hexdigest() == digest
    statement = json.loads((release.folder / "provenance.json").read_text())
    assert {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]} == {
        name: digest for name, digest in sums.items() if name != "provenance.json"
    }
    built_from = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"]["gitCommit"]
    assert built_from == git(project, "rev-parse", "v0.2.0^{commit}")


def test_the_same_commit_gives_the_same_wheel(project: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(project, again)
    digests = []
    for root in (project, again):
        release = Release(root, "0.2.0", image=None)
        git(root, "config", "user.name", "a")
        release._check()
        tree = root / "tree"
        git(root, "worktree", "add", "--quiet", str(tree), "HEAD")
        release.folder.mkdir(parents=True)
        release._wheel(tree, Source("", "", 1_700_000_000))
        (wheel,) = release.folder.glob("*.whl")
        digests.append(hashlib.sha256(wheel.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_a_release_that_fails_leaves_nothing_behind(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = git(project, "rev-parse", "HEAD")

    def broken(*_: object) -> None:
        raise ReleaseError("no disk")

    monkeypatch.setattr(Release, "_wheel", broken)
    with pytest.raises(ReleaseError, match="no disk"):
        Release(project, "0.2.0", image=None).run("2026-02-03")
    assert git(project, "rev-parse", "HEAD") == before
    assert git(project, "tag", "--list") == ""
    assert git(project, "status", "--porcelain") == ""


def test_what_is_not_committed_stops_it(project: Path) -> None:
    (project / "akua/__init__.py").write_text("x = 1\n")
    with pytest.raises(ReleaseError, match=r"not committed[\s\S]*akua/__init__\.py"):
        Release(project, "0.2.0", image=None).run("2026-02-03")
    assert (project / "akua/__init__.py").read_text() == "x = 1\n"


def test_no_release_is_made_twice(project: Path) -> None:
    git(project, "tag", "v0.2.0")
    with pytest.raises(ReleaseError, match="exists already"):
        Release(project, "0.2.0", image=None).run("2026-02-03")


def test_an_images_digest_is_its_manifests(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": "sha256:" + "a" * 64}]}))
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "akua.tar"), "index.json"], check=True)
    assert image_digest(tmp_path / "akua.tar") == "a" * 64
