"""Which credentials are an API server's."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from registry_access.model.errors import InvalidInput
from registry_access.runtime.http.request_sender import Sender, certified_names
from webhook.admission.api_servers import ApiServers


def bearer(token: bytes) -> Sender:
    return Sender(b"Bearer " + token)


def replace(file: Path, content: str) -> None:
    """As a Secret's volume does it."""
    (file.parent / "next").write_text(content)
    (file.parent / "next").replace(file)


@pytest.mark.parametrize(
    ("sender", "known"),
    [
        (bearer(b"one"), True),
        (bearer(b"two"), True),
        (Sender(b"bearer  two "), True),
        (bearer(b"three"), False),
        (bearer(b"on"), False),
        (bearer(b""), False),
        (bearer(b"one\xff"), False),
        (bearer(b"one\ntwo"), False),
        (Sender(b"Basic one"), False),
        (Sender(), False),
        (Sender(names=frozenset({"kube-apiserver"})), False),
    ],
)
def test_a_token_of_the_file_and_nothing_else(tmp_path: Path, sender: Sender, known: bool) -> None:
    file = tmp_path / "tokens"
    file.write_text("one\n\n  two\r\n")
    assert ApiServers(token_file=file).sent(sender) is known


def test_tokens_are_taken_up_when_they_change_and_none_counts_while_there_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    file.write_text("secret-old")
    servers = ApiServers(token_file=file)
    assert servers.sent(bearer(b"secret-old"))
    replace(file, "secret-new")
    assert servers.sent(bearer(b"secret-new"))
    assert not servers.sent(bearer(b"secret-old"))
    file.unlink()
    caplog.set_level(logging.ERROR)
    assert not any(servers.sent(bearer(b"secret-new")) for _ in range(3))
    assert [record.message for record in caplog.records] == [
        "AKUA_WEBHOOK_TOKEN_FILE cannot be read, so no review by token is recorded: No such file or directory"
    ]
    file.write_text("secret-new")
    assert servers.sent(bearer(b"secret-new"))
    assert "secret" not in repr(servers)


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read: No such file"), ("", "is empty"), (" \n\n", "is empty")])
def test_a_file_without_a_token_is_said_at_the_start(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(InvalidInput, match=says) as caught:
        ApiServers(token_file=tmp_path / "tokens").check()
    assert caught.value.field == "AKUA_WEBHOOK_TOKEN_FILE"
    ApiServers(certificates=True).check()


@pytest.mark.parametrize(
    ("wanted", "names", "known"),
    [
        ((), frozenset({"anything"}), True),
        ((), frozenset(), True),
        ((), None, False),
        (("kube-apiserver",), frozenset({"kube-apiserver", "other"}), True),
        (("kube-apiserver",), frozenset({"kubelet"}), False),
        (("kube-apiserver",), frozenset(), False),
    ],
)
def test_a_certificate_counts_by_its_name_where_names_are_given(
    wanted: tuple[str, ...], names: frozenset[str] | None, known: bool
) -> None:
    assert ApiServers(certificates=True, names=wanted).sent(Sender(names=names)) is known


def test_the_names_of_a_certificate() -> None:
    certificate = {
        "subject": ((("organizationName", "system:masters"),), (("commonName", "kube-apiserver"),)),
        "subjectAltName": (("DNS", "api.example"), ("IP Address", "10.0.0.1")),
    }
    assert certified_names(certificate) == frozenset({"kube-apiserver", "api.example"})
    assert certified_names({"subject": ()}) == frozenset()
    assert certified_names({}) is None
    assert certified_names(None) is None
