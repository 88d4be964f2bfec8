"""WWW-Authenticate is a list of challenges whose parameters are elements of the same list (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import pytest

from proxy.upstream.tokens.challenge import Challenge, choose, parse_challenges

BEARER = Challenge("bearer", {"realm": "https://a/t", "service": "s"})


@pytest.mark.parametrize(
    ("headers", "schemes", "chosen"),
    [
        (["Negotiate, Basic"], ["negotiate", "basic"], Challenge("basic", {})),
        (['Negotiate, Basic realm="x"'], ["negotiate", "basic"], Challenge("basic", {"realm": "x"})),
        (["NTLM,Negotiate,Basic"], ["ntlm", "negotiate", "basic"], Challenge("basic", {})),
        (['Negotiate YWJj==, Bearer realm="https://a/t", service="s"'], ["negotiate", "bearer"], BEARER),
        (['Bearer realm = "https://a/t" , service = "s", Basic'], ["bearer", "basic"], BEARER),
        (['Basic realm="a, Bearer realm=b", charset="UTF-8"'], ["basic"], None),
        (['Bearer realm="https://a/t",service="s",Basic realm="x"'], ["bearer", "basic"], BEARER),
        ([",, Bearer realm=https://a/t,,service=s,"], ["bearer"], BEARER),
        (['Newauth realm="apps", type=1, title="Login to \\"apps\\"", Basic realm="simple"'], ["newauth", "basic"], None),
        (['Basic realm="x"', 'bearer REALM="https://a/t",Service=s'], ["basic", "bearer"], BEARER),
        (['Bearer realm="https://a/t",service="s",realm="https://evil/"'], ["bearer"], BEARER),
        (['Basic realm="unterminated'], ["basic"], None),
        (["AWS4-HMAC-SHA256", "x-custom_scheme!  abc", "Basic"], ["aws4-hmac-sha256", "x-custom_scheme!", "basic"], None),
    ],
)
def test_legal_lists(headers: list[str], schemes: list[str], chosen: Challenge | None) -> None:
    parsed = parse_challenges(headers)
    assert [challenge.scheme for challenge in parsed] == schemes
    assert chosen is None or choose(parsed) == chosen


def test_quoted_pairs() -> None:
    (parsed,) = parse_challenges(['Basic realm="Login to \\"apps\\", please"'])
    assert parsed.parameters == {"realm": 'Login to "apps", please'}


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (BEARER, True),
        (Challenge("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull"}), True),
        (Challenge("bearer", {"realm": "https://b/t", "service": "s"}), False),
        (Challenge("bearer", {"realm": "https://a/t", "service": "t"}), False),
        (Challenge("basic", {"realm": "https://a/t"}), False),
        (None, False),
    ],
)
def test_whether_one_login_answers_both(other: Challenge | None, same: bool) -> None:
    assert BEARER.asks_as(other) is same


def test_basic_is_basic() -> None:
    assert Challenge("basic", {"realm": "a"}).asks_as(Challenge("basic", {"realm": "b"}))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://a/t",service="s",scope="repository:x:pull"'],
            ("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull"}),
        ),
        (["bearer realm=https://a/t,service=s"], ("bearer", {"realm": "https://a/t", "service": "s"})),
        (['Basic realm="x"', 'Bearer realm="https://a/t"'], ("bearer", {"realm": "https://a/t"})),
        (['Basic realm="x", Bearer realm="https://a/t"'], ("bearer", {"realm": "https://a/t"})),
        (['BASIC realm="a \\"quoted\\" one"'], ("basic", {"realm": 'a "quoted" one'})),
        (["Negotiate", "Basic"], ("basic", {})),
        (["Digest realm=x"], None),
        ([], None),
        (["=,=,=", "\x00"], None),
        (["Bearer " + 'a="b",' * 5000], "bearer"),
    ],
)
def test_challenges(headers: list[str], expected: object) -> None:
    chosen = choose(parse_challenges(headers))
    if expected is None:
        assert chosen is None
    elif isinstance(expected, str):
        assert chosen is not None
        assert chosen.scheme == expected
    else:
        assert isinstance(expected, tuple)
        assert chosen == Challenge(*expected)


# Without an upper bound on the work, each of these takes minutes: the time grows by the square of the length.
@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="' + '\\"' * 4096 + "\\",
        "Bearer " + "a" * 8192,
        "Bearer " + 'a="\\' * 2048,
        'Bearer realm="https://a/t",' + "," * 8192,
    ],
)
def test_a_registry_cannot_hold_up_the_others_by_what_it_asks_for(header: str) -> None:
    assert len(parse_challenges([header] * 256)) <= 16


def test_what_is_kept_of_a_challenge_is_bounded() -> None:
    (parsed,) = parse_challenges(['Bearer realm="https://a/t",service="s",' + ",".join(f'x{n}="{"y" * 50}"' for n in range(100))])
    assert parsed == BEARER
    (parsed,) = parse_challenges([f'Bearer realm="https://a/t",service="{"s" * 4000}"'])
    assert parsed.parameters == {"realm": "https://a/t"}
