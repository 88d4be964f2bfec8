"""What is written for containerd, and what is left alone."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from node_trust.hosts_folder import MARKER, HostsFolder, Trust
from registry_access.model.errors import InvalidInput

TRUST = Trust("https://10.96.0.7", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n")


def files(folder: HostsFolder) -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted(folder.path.iterdir())}


def test_it_writes_the_address_alone_beside_the_ca(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path / "certs.d", "oci.akua.dev")
    assert folder.write(TRUST)
    assert folder.path == tmp_path / "certs.d" / "oci.akua.dev"
    written = files(folder)
    assert sorted(written) == ["ca.crt", "hosts.toml"]
    assert written["ca.crt"].endswith(TRUST.ca)
    assert tomllib.loads(written["hosts.toml"]) == {"server": "https://10.96.0.7", "ca": "ca.crt", "host": {}}


def test_both_are_readable_whatever_the_umask(tmp_path: Path) -> None:
    folder, before = HostsFolder(tmp_path / "certs.d", "oci.akua.dev"), os.umask(0o077)
    try:
        folder.write(TRUST)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder.path, *folder.path.iterdir())}
    assert modes == {"oci.akua.dev": 0o755, "hosts.toml": 0o644, "ca.crt": 0o644}


def test_what_is_the_same_is_not_written_again(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.write(TRUST)
    inodes = [file.stat().st_ino for file in sorted(folder.path.iterdir())]
    assert not folder.write(TRUST)
    assert [file.stat().st_ino for file in sorted(folder.path.iterdir())] == inodes
    assert folder.write(Trust("https://10.96.0.8", TRUST.ca))
    changed = [file.stat().st_ino for file in sorted(folder.path.iterdir())]
    assert (changed[0] == inodes[0], changed[1] == inodes[1]) == (True, False)
    assert "10.96.0.8" in files(folder)["hosts.toml"]


@pytest.mark.parametrize("lost", ["ca.crt", "hosts.toml"])
def test_what_somebody_removed_comes_back(tmp_path: Path, lost: str) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.write(TRUST)
    (folder.path / lost).unlink()
    assert folder.write(TRUST)
    assert sorted(files(folder)) == ["ca.crt", "hosts.toml"]


def test_the_ca_is_there_before_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced: list[str] = []
    replace = Path.replace

    def noting(self: Path, target: Path) -> Path:
        assert self.parent == target.parent
        replaced.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noting)
    HostsFolder(tmp_path, "oci.akua.dev").write(TRUST)
    assert replaced == ["ca.crt", "hosts.toml"]


def test_a_write_that_was_cut_off_leaves_nothing_that_containerd_reads_and_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InvalidInput, match="No space left on device"):
            folder.write(TRUST)
    assert not [name for name in files(folder) if name.endswith((".toml", ".crt", ".key", ".cert"))]
    assert folder.write(TRUST)
    assert sorted(files(folder)) == ["ca.crt", "hosts.toml"]


@pytest.mark.parametrize("name", ["hosts.toml", "ca.crt"])
@pytest.mark.parametrize("content", ["", 'server = "https://registry.corp.example"\n'])
def test_what_others_wrote_is_neither_replaced_nor_removed(tmp_path: Path, name: str, content: str) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.path.mkdir()
    (folder.path / name).write_text(content)
    with pytest.raises(InvalidInput, match=rf"oci\.akua\.dev/{name}: was not written by akua node-trust"):
        folder.write(TRUST)
    assert not folder.remove()
    assert files(folder) == {name: content}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("oci.akua.dev", "oci.akua.dev"),
        ("oci.akua.dev:8443", "oci.akua.dev_8443_"),
        ("10.0.0.1:5000", "10.0.0.1_5000_"),
        ("[fd00::1]:5000", "[fd00::1]_5000_"),
    ],
)
def test_the_folder_is_named_as_containerd_looks_for_it(tmp_path: Path, host: str, name: str) -> None:
    assert HostsFolder(tmp_path, host).path == tmp_path / name


def test_a_foreign_folder_of_the_plain_name_is_not_put_in_the_shade(tmp_path: Path) -> None:
    plain = tmp_path / "oci.akua.dev:8443"
    plain.mkdir()
    (plain / "hosts.toml").write_text("server = 'https://a.example'\n")
    with pytest.raises(InvalidInput, match=r"oci\.akua\.dev:8443/hosts\.toml: was not written by"):
        HostsFolder(tmp_path, "oci.akua.dev:8443").write(TRUST)


def test_removing_takes_ours_and_leaves_the_rest(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    assert not folder.remove()
    folder.write(TRUST)
    assert folder.remove()
    assert not folder.path.exists()
    folder.write(TRUST)
    (folder.path / "client.pem").write_text("theirs")
    assert folder.remove()
    assert files(folder) == {"client.pem": "theirs"}


def test_removing_takes_ours_from_beside_what_is_not(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.write(TRUST)
    (folder.path / "hosts.toml").write_text("theirs by now")
    assert folder.remove()
    assert files(folder) == {"hosts.toml": "theirs by now"}


def test_a_folder_that_cannot_be_used_says_who_may(tmp_path: Path) -> None:
    (tmp_path / "certs.d").write_text("a file")
    with pytest.raises(InvalidInput, match="run as the user that owns containerd's config_path"):
        HostsFolder(tmp_path / "certs.d", "oci.akua.dev").write(TRUST)


def test_the_marker_is_a_comment_in_both_formats() -> None:
    assert MARKER.startswith("# ")
    assert MARKER.count("\n") == 1
    assert "-----" not in MARKER


@pytest.mark.parametrize("name", [".hosts.toml.akua", ".ca.crt.akua", ".writing-hosts.toml"])
def test_no_temporary_name_leads_elsewhere(tmp_path: Path, name: str) -> None:
    folder, victim = HostsFolder(tmp_path / "certs.d", "oci.akua.dev"), tmp_path / "shadow"
    victim.write_text("root:*:")
    victim.chmod(0o600)
    folder.path.mkdir(parents=True)
    (folder.path / name).symlink_to(victim)
    assert folder.write(TRUST)
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root:*:", 0o600)
    assert {"ca.crt", "hosts.toml"} <= files(folder).keys()


@pytest.mark.parametrize("name", ["hosts.toml", "ca.crt"])
@pytest.mark.parametrize("present", [True, False])
def test_a_link_in_the_place_of_a_file_is_somebody_elses(tmp_path: Path, name: str, *, present: bool) -> None:
    folder, victim = HostsFolder(tmp_path / "certs.d", "oci.akua.dev"), tmp_path / "victim"
    if present:
        victim.write_text(MARKER)  # what it points to may even look like ours
    folder.path.mkdir(parents=True)
    (folder.path / name).symlink_to(victim)
    with pytest.raises(InvalidInput, match=rf"oci\.akua\.dev/{name}: was not written by akua node-trust"):
        folder.write(TRUST)
    assert not folder.remove()
    assert (folder.path / name).is_symlink()
    assert victim.exists() is present


def test_a_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder, elsewhere = HostsFolder(tmp_path / "certs.d", "oci.akua.dev"), tmp_path / "root"
    elsewhere.mkdir(mode=0o700)
    folder.path.parent.mkdir()
    folder.path.symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(InvalidInput, match=r"oci\.akua\.dev: is a symbolic link"):
        folder.write(TRUST)
    with pytest.raises(InvalidInput, match=r"oci\.akua\.dev: is a symbolic link"):
        folder.remove()
    assert (list(elsewhere.iterdir()), elsewhere.stat().st_mode & 0o777) == ([], 0o700)


def test_a_pipe_in_the_place_of_a_file_holds_nothing_up(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.path.mkdir()
    os.mkfifo(folder.path / "hosts.toml")
    with pytest.raises(InvalidInput, match="was not written by akua node-trust"):
        folder.write(TRUST)


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    folder = HostsFolder(tmp_path, "oci.akua.dev")
    folder.path.mkdir()
    (folder.path / ".writing-abc123").write_text("half")
    assert folder.write(TRUST)
    assert sorted(files(folder)) == ["ca.crt", "hosts.toml"]
    (folder.path / ".writing-abc124").write_text("half")
    assert folder.remove()
    assert not folder.path.exists()


def test_what_was_written_for_another_host_goes_and_what_others_wrote_stays(tmp_path: Path) -> None:
    old, with_port = HostsFolder(tmp_path, "old.example"), HostsFolder(tmp_path, "old.example:8443")
    for folder in (old, with_port):
        folder.write(TRUST)
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "hosts.toml").write_text('server = "https://mirror.example"\n')
    (tmp_path / "file").write_text("x")
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    HostsFolder(elsewhere, "linked.example").write(TRUST)
    (tmp_path / "linked.example").symlink_to(elsewhere / "linked.example")
    new = HostsFolder(tmp_path, "new.example")
    new.write(TRUST)
    assert new.remove_others() == [old.path, with_port.path]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docker.io", "file", "linked.example", "new.example"]
    assert (elsewhere / "linked.example" / "hosts.toml").exists(), "no link is followed"
    assert new.remove_others() == []
    assert HostsFolder(tmp_path / "absent", "new.example").remove_others() == ()
