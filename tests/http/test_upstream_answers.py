"""What clients get directly from an upstream, they get through the proxy: pages, HEAD, conditions, ranges, refusals."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import random
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from tests.support.proxied_world import World, world
from tests.support.scripted_upstream import ScriptedUpstream

MANIFEST = b'{"schemaVersion":2}'
MANIFEST_DIGEST = "sha256:" + hashlib.sha256(MANIFEST).hexdigest()
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
BLOB = bytes(range(256)) * 1024
BLOB_DIGEST = "sha256:" + hashlib.sha256(BLOB).hexdigest()
SUBJECT = "sha256:" + "0" * 64


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
async def akua(tmp_path: Path, upstream: ScriptedUpstream) -> AsyncIterator[World]:
    async with world(tmp_path, upstream) as made:
        yield made


@pytest.fixture
async def token(akua: World) -> str:
    return await akua.install("shop")


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def manifest(**headers: str) -> Response:
    return Response(
        MANIFEST, media_type=MANIFEST_TYPE, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


# Pages


@pytest.mark.parametrize("kind", ["tags", "referrers"])
async def test_every_page_of_an_opaque_cursor_is_read_through_the_proxy(
    akua: World, upstream: ScriptedUpstream, token: str, kind: str
) -> None:
    cursors = ["", "gA%3D", "a+b%2Fc", "eyJ4Ijoxfg=="]

    def page(request: Request) -> Response:
        query = request.scope["query_string"].decode()
        number = 0 if query == "n=2" else cursors.index(query.partition("&n=2")[0].removeprefix("next_page="))
        content = {"tags": [f"z{number}", f"a{number}"], "name": "acme/app"} if kind == "tags" else {"manifests": [{"n": number}]}
        more = number + 1 < len(cursors)
        path = request.url.path
        link = f'<{path}?n=0>; rel="prev", <{path}?next_page={cursors[number + 1]}&n=2>; title="a, b"; REL=next' if more else ""
        return JSONResponse(content, headers={"Link": link} if link else {})

    upstream.answer = page
    path = akua.path("acme/app", kind, "list" if kind == "tags" else SUBJECT)
    seen: list[object] = []
    url = f"{path}?n=2"
    while url:
        answer = await akua.pull(token, url)
        assert answer.status_code == 200
        seen += answer.json()["tags"] if kind == "tags" else [entry["n"] for entry in answer.json()["manifests"]]
        following = answer.links.get("next", {}).get("url", "")
        assert not following or following.startswith(f"{path}?")
        url = following
    expected = [name for number in range(4) for name in (f"z{number}", f"a{number}")]
    assert seen == (expected if kind == "tags" else [0, 1, 2, 3])


async def test_a_page_keeps_its_order_and_its_unknown_members(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    body = '{"child":["x"],"name":"acme/app","tags":["v10","v9","latest"],"manifest":{"é":[1.5,12345678901]}}'
    upstream.answer = lambda request: Response(body, media_type="application/json")
    answer = await akua.pull(token, akua.path("acme/app", "tags", "list"))
    assert answer.json() == json.loads(body) | {"name": akua.name("acme/app")}
    assert list(answer.json()) == ["child", "name", "tags", "manifest"]


async def test_a_repository_with_very_many_tags_is_listed(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    tags = [f"build-{number:040d}" for number in range(110_000)]
    upstream.answer = lambda request: JSONResponse({"name": "acme/app", "tags": tags})
    answer = await akua.pull(token, akua.path("acme/app", "tags", "list"))
    assert len(answer.content) > 5_300_000
    assert answer.json()["tags"] == tags


# HEAD


@pytest.mark.parametrize("status", [400, 401, 403, 405, 406, 500, 501])
@pytest.mark.parametrize("kind", ["manifests", "blobs", "tags", "referrers"])
async def test_head_is_answered_as_get_would_be(
    akua: World, upstream: ScriptedUpstream, token: str, kind: str, status: int
) -> None:
    content = {"manifests": MANIFEST, "blobs": BLOB, "tags": b'{"tags":["a"]}', "referrers": b'{"manifests":[]}'}[kind]
    upstream.answer = lambda request: Response(status_code=status) if request.method == "HEAD" else Response(content)
    reference = {"manifests": "1.0", "blobs": BLOB_DIGEST, "tags": "list", "referrers": SUBJECT}[kind]
    path = akua.path("acme/app", kind, reference)
    head, get = await akua.pull(token, path, "HEAD"), await akua.pull(token, path)
    assert (head.status_code, head.content, get.status_code) == (200, b"", 200)
    for name in ("content-length", "content-type", "docker-content-digest"):
        assert head.headers.get(name) == get.headers.get(name)
    assert head.headers["content-length"] == str(len(get.content))
    rows = await akua.audit()
    assert {(row.outcome.result, row.outcome.bytes) for row in rows if row.outcome} == {
        ("allowed", 0),
        ("allowed", len(get.content)),
    }


async def test_a_head_that_is_redirected_to_a_url_signed_for_get(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    def answer(request: Request) -> Response:
        if "/signed" not in request.url.path:
            return RedirectResponse(f"http://{request.headers['host']}/v2/signed", 307)
        return Response(BLOB) if request.method == "GET" else Response("SignatureDoesNotMatch", 403)

    upstream.answer = answer
    head = await akua.pull(token, akua.path("acme/app", "blobs", BLOB_DIGEST), "HEAD")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BLOB)))


@pytest.mark.parametrize(
    "headers",
    [
        {"Docker-Content-Digest": "nonsense"},
        {"Docker-Content-Digest": MANIFEST_DIGEST, "Content-Length": "0"},
        {"Docker-Content-Digest": MANIFEST_DIGEST, "Content-Encoding": "gzip", "Content-Length": "7"},
        {"Docker-Content-Digest": MANIFEST_DIGEST, "Content-Type": "text/html", "Content-Length": "7"},
    ],
    ids=["digest", "length 0", "encoded", "a page"],
)
async def test_what_a_head_of_a_manifest_lacks_is_got_by_get(
    akua: World, upstream: ScriptedUpstream, token: str, headers: dict[str, str]
) -> None:
    upstream.answer = lambda request: Response(headers=headers) if request.method == "HEAD" else manifest()
    head = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"), "HEAD")
    assert upstream.methods == ["HEAD", "GET"]
    assert (head.headers["content-length"], head.headers["docker-content-digest"]) == (str(len(MANIFEST)), MANIFEST_DIGEST)
    assert head.headers["content-type"] == MANIFEST_TYPE


async def test_the_length_of_a_blob_that_neither_head_nor_get_says(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    def answer(request: Request) -> Response:
        if request.headers.get("range") == "bytes=0-0":
            return Response(BLOB[:1], 206, {"Content-Range": f"bytes 0-0/{len(BLOB)}"})
        return StreamingResponse(_pieces(BLOB))

    upstream.answer = answer
    head = await akua.pull(token, akua.path("acme/app", "blobs", BLOB_DIGEST), "HEAD")
    assert (head.status_code, head.headers.get("content-length")) == (200, str(len(BLOB)))


@pytest.mark.parametrize("status", [404, 429, 503])
async def test_what_get_would_not_give_either_is_asked_once(
    akua: World, upstream: ScriptedUpstream, token: str, status: int
) -> None:
    upstream.answer = lambda request: Response(status_code=status, headers={"Retry-After": "9"})
    await akua.pull(token, akua.path("acme/app", "manifests", "1.0"), "HEAD")
    assert upstream.methods == ["HEAD"]


# Conditions and ranges


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["1.0", MANIFEST_DIGEST])
@pytest.mark.parametrize("said", [MANIFEST_DIGEST, "", "nonsense"])
async def test_a_manifest_that_has_not_changed(
    akua: World, upstream: ScriptedUpstream, token: str, method: str, reference: str, said: str
) -> None:
    headers = {"ETag": '"v1"'} | ({"Docker-Content-Digest": said} if said else {})
    upstream.answer = lambda request: Response(status_code=304, headers=headers)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", reference), method, **{"If-None-Match": '"v1"'})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"v1"')
    expected = MANIFEST_DIGEST if reference == MANIFEST_DIGEST or said == MANIFEST_DIGEST else None
    assert answer.headers.get("docker-content-digest") == expected
    (row,) = await akua.audit()
    assert row.outcome
    assert (row.outcome.result, row.outcome.status, row.outcome.digest) == ("allowed", 304, expected or "")


async def test_several_ranges_and_their_multipart_answer_pass(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    parts = b"--x\r\nContent-Range: bytes 0-3/262144\r\n\r\n\x00\x01\x02\x03\r\n--x--\r\n"
    upstream.answer = lambda request: Response(parts, 206, media_type="multipart/byteranges; boundary=x")
    path = akua.path("acme/app", "blobs", BLOB_DIGEST)
    answer = await akua.pull(token, path, Range="bytes=0-3,100-103")
    assert (answer.status_code, answer.content) == (206, parts)
    assert answer.headers["content-type"] == "multipart/byteranges; boundary=x"
    assert upstream.asked[-1].headers["range"] == "bytes=0-3,100-103"
    upstream.answer = lambda request: PlainError(400, "multiple ranges are not supported")
    refused = await akua.pull(token, path, Range="bytes=0-3,100-103")
    assert refused.status_code == 400
    assert "multiple ranges are not supported" in refused.json()["errors"][0]["message"]


async def test_a_range_means_nothing_to_head(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    upstream.answer = lambda request: Response(BLOB)
    head = await akua.pull(token, akua.path("acme/app", "blobs", BLOB_DIGEST), "HEAD", Range="bytes=0-3")
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(BLOB)))
    assert "range" not in upstream.asked[0].headers


# Refusals


class PlainError(Response):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, status, media_type="text/plain")


def error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"errors": [{"code": code, "message": message}]}, status)


@pytest.mark.parametrize("status", [400, 402, 405, 406, 410, 412, 413, 415, 422, 423, 431, 451])
@pytest.mark.parametrize("kind", ["manifests", "blobs", "tags", "referrers"])
async def test_a_4xx_stays_what_it_is_with_the_upstreams_words(
    akua: World, upstream: ScriptedUpstream, token: str, kind: str, status: int
) -> None:
    reference = {"manifests": "1.0", "blobs": BLOB_DIGEST, "tags": "list", "referrers": SUBJECT}[kind]
    upstream.answer = lambda request: error(status, "UNSUPPORTED", "the plan\nallows \u202eno pulls")
    answer = await akua.pull(token, akua.path("acme/app", kind, reference))
    found = answer.json()["errors"][0]
    assert (answer.status_code, found["code"], found["detail"]["reason"]) == (status, "UNSUPPORTED", "upstream-refused")
    said = f'{akua.upstream_host} says: "the plan allows \\u202eno pulls"'
    assert said in found["message"]
    assert found["detail"]["upstream"] == {"status": status, "code": "UNSUPPORTED", "message": "the plan allows \\u202eno pulls"}
    (row,) = await akua.audit()
    assert row.outcome
    assert (row.outcome.result, row.outcome.status) == ("failed", status)
    assert said in row.outcome.detail


@pytest.mark.parametrize(
    ("answered", "status", "code", "words"),
    [
        (error(403, "DENIED", "this token has no read:packages"), 403, "DENIED", "this token has no read:packages"),
        (error(404, "NAME_UNKNOWN", "no such repository"), 404, "NAME_UNKNOWN", "no such repository"),
        (error(404, "SOMETHING_ELSE", "gone"), 404, "MANIFEST_UNKNOWN", "gone"),
        (PlainError(404, "404 page not found"), 404, "MANIFEST_UNKNOWN", "404 page not found"),
        (Response("<html><title>Not &amp; found</title>", 404), 404, "MANIFEST_UNKNOWN", "Not & found"),
        (Response("<html><body>x", 404), 404, "MANIFEST_UNKNOWN", ""),
        (JSONResponse({"error": "payment required"}, 402), 402, "DENIED", "payment required"),
        (JSONResponse({"errors": ["quota"]}, 413), 413, "SIZE_INVALID", "quota"),
        (JSONResponse([1], 410), 410, "MANIFEST_UNKNOWN", ""),
        (Response(b"\xff\xfe\x00", 423), 423, "DENIED", "\ufffd\ufffd\\x00"),
        (Response(gzip.compress(b'{"message":"packed"}'), 451, {"Content-Encoding": "gzip"}), 451, "DENIED", "packed"),
        (PlainError(407, "proxy login"), 403, "DENIED", "proxy login"),
        (error(429, "TOOMANYREQUESTS", "slow down"), 429, "TOOMANYREQUESTS", "slow down"),
        (PlainError(500, "database is locked"), 502, "UNAVAILABLE", "database is locked"),
        (PlainError(400, 'quote " and more ' + "x" * 1000), 400, "UNSUPPORTED", "quote ' and more xxx"),
        (Response(b"x" * 100_000, 400), 400, "UNSUPPORTED", ""),
    ],
)
async def test_the_forms_of_refusals(
    akua: World, upstream: ScriptedUpstream, token: str, answered: Response, status: int, code: str, words: str
) -> None:
    upstream.answer = lambda request: answered
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    found = answer.json()["errors"][0]
    assert (answer.status_code, found["code"]) == (status, code)
    assert found["detail"]["upstream"]["message"].startswith(words)
    assert (" says: " in found["message"]) is bool(words)
    assert len(found["detail"]["upstream"]["message"]) <= 300


async def test_an_upstream_that_repeats_our_credential_does_not_show_it_to_the_client(
    akua: World, upstream: ScriptedUpstream, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    pair = base64.b64encode(f"{upstream.username}:{upstream.password}".encode()).decode()
    upstream.answer = lambda request: PlainError(403, f"bad login {upstream.password} ({pair}), Authorization: Basic {pair}")
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    (row,) = await akua.audit()
    assert row.outcome
    assert "bad login [redacted]" in row.outcome.detail
    for text in (answer.text, row.outcome.detail, caplog.text):
        assert upstream.password not in text
        assert pair.rstrip("=") not in text


# Bodies


@pytest.mark.parametrize("kind", ["manifests", "blobs", "tags", "referrers"])
@pytest.mark.parametrize("came", [0, 5])
async def test_a_small_object_that_is_cut_short_is_asked_for_again(
    akua: World, upstream: ScriptedUpstream, token: str, kind: str, came: int
) -> None:
    content = {"manifests": MANIFEST, "blobs": b"small blob", "tags": b'{"tags":["a"]}', "referrers": b'{"manifests":[]}'}[kind]
    digest = "sha256:" + hashlib.sha256(content).hexdigest()

    def answer(request: Request) -> Response:
        if len(upstream.asked) < 3:
            return StreamingResponse(_pieces(content[:came]), headers={"Content-Length": str(len(content))})
        return Response(content)

    upstream.answer = answer
    found = await akua.pull(token, akua.path("acme/app", kind, "list" if kind == "tags" else digest))
    assert found.status_code == 200
    assert len(upstream.asked) == 3
    upstream.answer = lambda request: StreamingResponse(_pieces(content[:came]), headers={"Content-Length": str(len(content))})
    refused = await akua.pull(token, akua.path("acme/app", kind, "list" if kind == "tags" else digest))
    assert (refused.status_code, refused.json()["errors"][0]["detail"]["reason"]) == (502, "upstream-truncated")


async def test_a_large_blob_whose_first_answer_was_short_is_streamed(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    def answer(request: Request) -> Response:
        return StreamingResponse(_pieces(), headers={"Content-Length": "100"}) if len(upstream.asked) == 1 else Response(BLOB)

    upstream.answer = answer
    assert (await akua.pull(token, akua.path("acme/app", "blobs", BLOB_DIGEST))).content == BLOB


@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
async def test_a_large_blob_of_which_nothing_came_is_asked_for_again(
    akua: World, upstream: ScriptedUpstream, token: str, length: bool
) -> None:
    class Broken(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        for _ in ():
            yield b""
        raise Broken

    def answer(request: Request) -> Response:
        headers = {"Content-Length": str(len(BLOB))} if length else {}
        return StreamingResponse(broken() if len(upstream.asked) == 1 else _pieces(BLOB), headers=headers)

    upstream.answer = answer
    found = await akua.pull(token, akua.path("acme/app", "blobs", BLOB_DIGEST))
    assert found.content == BLOB
    assert all("range" not in request.headers for request in upstream.asked)


@pytest.mark.parametrize("reference", ["1.0", MANIFEST_DIGEST])
@pytest.mark.parametrize(
    ("body", "coding"),
    [(gzip.compress(MANIFEST), "gzip"), (gzip.compress(MANIFEST), ""), (zlib.compress(MANIFEST), "deflate"), (MANIFEST, "gzip")],
    ids=["gzip", "unmarked", "deflate", "not so"],
)
async def test_a_manifest_that_is_compressed_although_identity_was_asked_for(
    akua: World, upstream: ScriptedUpstream, token: str, reference: str, body: bytes, coding: str
) -> None:
    headers = {"Docker-Content-Digest": MANIFEST_DIGEST} | ({"Content-Encoding": coding} if coding else {})
    upstream.answer = lambda request: Response(body, media_type=MANIFEST_TYPE, headers=headers)
    answer = await akua.pull(token, akua.path("acme/app", "manifests", reference))
    assert (answer.status_code, answer.content) == (200, MANIFEST)
    assert "content-encoding" not in answer.headers
    head = await akua.pull(token, akua.path("acme/app", "manifests", reference), "HEAD")
    assert head.headers["content-length"] == str(len(MANIFEST)) or coding == ""


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (b"x", "br", "encodes its answer as br"),
        (b"x", "gzip, br", "encodes its answer as gzip, br"),
        (b"\x1f\x8bnonsense", "gzip", "does not decompress"),
        (gzip.compress(bytes(5 * 1024 * 1024)), "gzip", "larger than"),
    ],
)
async def test_what_cannot_be_decoded_is_refused_with_true_words(
    akua: World, upstream: ScriptedUpstream, token: str, body: bytes, coding: str, words: str
) -> None:
    upstream.answer = lambda request: Response(body, headers={"Content-Encoding": coding})
    answer = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert answer.status_code == 502
    assert words in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("stated", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("count", [10, 100_000], ids=["small", "large"])
@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_configuration_that_is_compressed_although_identity_was_asked_for(
    akua: World,
    upstream: ScriptedUpstream,
    token: str,
    coding: str,
    encode: Callable[[bytes], bytes],
    count: int,
    stated: bool,
) -> None:
    """quay/quay#1310: registry.access.redhat.com compresses the configurations of images."""
    configuration = json.dumps(
        {"history": [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count // 10)]}
    ).encode()
    body = encode(configuration)
    headers = {"Content-Encoding": coding}
    upstream.answer = lambda request: (
        Response(body, headers=headers) if stated else StreamingResponse(_pieces(body[:7], body[7:]), headers=headers)
    )
    digest = "sha256:" + hashlib.sha256(configuration).hexdigest()
    answer = await akua.pull(token, akua.path("acme/app", "blobs", digest))
    assert (answer.status_code, answer.content) == (200, configuration)
    assert answer.headers["content-length"] == str(len(configuration))
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("stated", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [100, 200_000])
async def test_a_layer_that_is_marked_as_what_it_is_by_itself_stays_as_it_is(
    akua: World, upstream: ScriptedUpstream, token: str, size: int, stated: bool
) -> None:
    """moby/moby#17595: a web server marks layers as x-gzip by their first bytes."""
    layer = gzip.compress(random.Random(1).randbytes(size))
    headers = {"Content-Encoding": "x-gzip"}
    upstream.answer = lambda request: (
        Response(layer, headers=headers) if stated else StreamingResponse(_pieces(layer[:99], layer[99:]), headers=headers)
    )
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    answer = await akua.pull(token, akua.path("acme/app", "blobs", digest))
    assert (answer.status_code, answer.content) == (200, layer)


@pytest.mark.parametrize(
    ("kind", "reference", "expected"),
    [("manifests", "1.0", "a manifest"), ("referrers", SUBJECT, "a list of referrers"), ("tags", "list", "a list of tags")],
)
async def test_a_web_page_is_refused_as_one(
    akua: World, upstream: ScriptedUpstream, token: str, kind: str, reference: str, expected: str
) -> None:
    upstream.answer = lambda request: Response("<!DOCTYPE html><title>Log in</title>", media_type="text/html")
    answer = await akua.pull(token, akua.path("acme/app", kind, reference))
    assert answer.status_code == 502
    assert f"a web page, not {expected}" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("kind", ["manifests", "blobs", "tags"])
async def test_warnings_pass(akua: World, upstream: ScriptedUpstream, token: str, kind: str) -> None:
    content = {"manifests": MANIFEST, "blobs": BLOB, "tags": b'{"tags":[]}'}[kind]
    reference = {"manifests": "1.0", "blobs": BLOB_DIGEST, "tags": "list"}[kind]

    def answer(request: Request) -> Response:
        response = Response(content)
        for words in ("deprecated", "moved"):
            response.headers.append("Warning", f'299 - "{words}"')
        return response

    upstream.answer = answer
    found = await akua.pull(token, akua.path("acme/app", kind, reference))
    assert found.headers.get_list("warning") == ['299 - "deprecated"', '299 - "moved"']


async def test_an_equal_length_said_twice_is_one_length(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    def answer(request: Request) -> Response:
        response = manifest()
        response.raw_headers.append((b"content-length", str(len(MANIFEST)).encode()))
        return response

    upstream.answer = answer
    for _ in range(2):  # the second on the same connection
        found = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
        assert (found.status_code, found.content) == (200, MANIFEST)


async def test_two_lengths_are_nonsense_and_called_so(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    def answer(request: Request) -> Response:
        response = manifest()
        response.raw_headers.append((b"content-length", b"5"))
        return response

    upstream.answer = answer
    found = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    message = found.json()["errors"][0]["message"]
    assert (found.status_code, "cannot be reached" in message, "not valid HTTP" in message) == (502, False, True)


@pytest.mark.parametrize("lines", [1, 10])
async def test_headers_of_40_kilobytes_are_read(akua: World, upstream: ScriptedUpstream, token: str, lines: int) -> None:
    upstream.answer = lambda request: manifest(**{f"X_Policy_{number}": "a" * (40_000 // lines) for number in range(lines)})
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 200


async def test_headers_beyond_all_measure_are_called_so(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    upstream.answer = lambda request: manifest(X_Policy="a" * 400_000)
    found = await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))
    assert found.status_code == 502
    assert "not valid HTTP" in found.json()["errors"][0]["message"]


# Paths


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2/_oci/ext/discover", 404),
        ("/v2/ghcr.io/acme/app/_oci/ext/discover", 404),
        ("/v2/ghcr.io/acme/app/manifests/.INVALID_MANIFEST_NAME", 404),
        ("/v2/ghcr.io/acme/app/manifests/" + "a" * 129, 404),
        ("/v2/ghcr.io/acme/app/tags/all", 404),
        ("/v2/ghcr.io/acme/app/signatures/x", 404),
        ("/v2/ghcr.io/acme/app/blobs/sha256:baddigeststring", 400),
        ("/v2/ghcr.io/acme/app/manifests/sha256:baddigeststring", 400),
        ("/v2/ghcr.io/ACME/app/manifests/1", 400),
        ("/v2/ghcr.io/acme%2Fapp/manifests/1", 400),
    ],
)
async def test_routes_that_are_not_ours(akua: World, token: str, path: str, status: int) -> None:
    for method in ("GET", "HEAD"):
        answer: httpx.Response = await akua.pull(token, path, method)
        assert answer.status_code == status


# Memory


async def test_a_workspace_holds_one_large_document_at_a_time(akua: World, upstream: ScriptedUpstream, token: str) -> None:
    body = json.dumps({"tags": ["a" * 128] * 20_000}).encode()
    released = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield body[: 1 << 21]
        await released.wait()
        yield body[1 << 21 :]

    upstream.answer = lambda request: StreamingResponse(pieces())
    path = akua.path("acme/app", "tags", "list")
    pulls = [asyncio.create_task(akua.pull(token, path)) for _ in range(3)]
    waited = akua.telemetry.documents_waited
    for _ in range(500):
        if waited._value.get() == 2:
            break
        await asyncio.sleep(0.01)
    assert waited._value.get() == 2
    upstream.answer = lambda request: Response(MANIFEST)
    assert (await akua.pull(token, akua.path("acme/app", "manifests", "1.0"))).status_code == 200
    released.set()
    assert [(await pull).status_code for pull in pulls] == [200, 200, 200]
