"""CAs that follow each other: whoever trusts the bundle trusts what is served, at every moment of a rotation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509

from registry_access.model.errors import InvalidInput
from registry_access.runtime.tls.certificate_authority import certificates_in, has_issued
from webhook.certificates.authorities import CA_DAYS, Authorities, RotationTimes

TIMES = RotationTimes()
NOW = 1_800_000_000.0
DAY = 86400.0


def served_by(authorities: Authorities, now: float) -> bytes:
    return authorities.signer(now).issue(("localhost",), now=datetime.fromtimestamp(now, UTC)).certificate


def trusts(authorities: Authorities, certificate: bytes) -> bool:
    return any(has_issued(issuer, certificate) for issuer in certificates_in(authorities.bundle()))


def walked(authorities: Authorities, moments: Iterable[float], served: list[bytes]) -> Authorities:
    """Time goes by: a server takes a new certificate as soon as there is one to be had, and is trusted all the while."""
    for now in moments:
        before = authorities
        authorities = authorities.after(now, TIMES, served)
        if not has_issued(authorities.current(now).certificate, served[0]):
            served[0] = served_by(authorities, now)
        assert trusts(authorities, served[0])
        assert trusts(before, served[0]), "whoever read the bundle a moment ago trusts it too"
    return authorities


def test_the_first_signs_at_once_and_nothing_happens_to_it_for_years() -> None:
    first = Authorities.first(NOW, TIMES)
    served = served_by(first, NOW)
    assert trusts(first, served)
    for days in (0, 1, 89, 1000, CA_DAYS - 366):
        assert first.after(NOW + days * DAY, TIMES, [served]) == first


def test_one_that_is_asked_for_is_trusted_first_then_signs_and_the_old_one_goes_last() -> None:
    first = Authorities.first(NOW, TIMES)
    served = [served_by(first, NOW)]
    rotated = first.after(NOW, TIMES, served, requested=True)
    old, new = rotated.members
    assert (old, rotated.current(NOW)) == (first.members[0], old)
    assert new.certificate in rotated.bundle()
    assert has_issued(old.certificate, served_by(rotated, NOW + TIMES.requested_ahead - 1))
    assert has_issued(new.certificate, served_by(rotated, NOW + TIMES.requested_ahead))
    ended = walked(rotated, [NOW + minutes * 60 for minutes in range(0, 120, 3)], served)
    assert ended.members == (new,)
    assert has_issued(new.certificate, served[0])


def test_an_old_one_stays_trusted_while_anything_that_it_signed_is_served() -> None:
    first = Authorities.first(NOW, TIMES)
    served = served_by(first, NOW)
    rotated = first.after(NOW, TIMES, [served], requested=True)
    later = NOW + 30 * DAY
    kept = rotated.after(later, TIMES, [served])
    assert trusts(kept, served)
    assert kept.members[0].key is None, "what will not sign again needs no key"
    assert len(kept.after(later, TIMES, []).members) == 1


def test_one_near_its_end_is_followed_in_good_time() -> None:
    first = Authorities.first(NOW, TIMES)
    served = [served_by(first, NOW)]
    end = NOW + CA_DAYS * DAY
    ended = walked(first, [end - days * DAY for days in range(400, 0, -1)], served)
    assert len(ended.members) == 1
    assert ended.members != first.members
    (followed,) = walked(first, [end - 364 * DAY], [served[0]]).members[1:]
    assert followed.signs_from == end - 364 * DAY + TIMES.planned_ahead


@pytest.mark.parametrize(("left", "ahead"), [(70 * DAY, 30 * DAY), (10 * DAY, 900), (60, 60), (-5 * DAY, 0)])
def test_the_less_is_left_the_sooner_the_next_one_signs(left: float, ahead: float) -> None:
    first = Authorities.first(NOW, TIMES)
    now = first.members[0].expiry - left
    assert first.after(now, TIMES, []).members[-1].signs_from == int(now + ahead)


def test_asking_hastens_one_that_waits_and_makes_no_third() -> None:
    first = Authorities.first(NOW, TIMES)
    now = first.members[0].expiry - 200 * DAY
    planned = first.after(now, TIMES, [])
    hastened = planned.after(now + 10, TIMES, [], requested=True)
    assert len(hastened.members) == 2
    assert hastened.members[-1].signs_from == int(now + 10 + TIMES.requested_ahead)
    assert hastened.after(now + 20, TIMES, [], requested=True) == hastened


def test_a_lost_ca_is_followed_not_replaced() -> None:
    """Its Secret was deleted; what it signed is served, and trusted by those who know its certificate."""
    lost = Authorities.first(NOW, TIMES)
    served = [served_by(lost, NOW)]
    made = Authorities.first(NOW, TIMES, [lost.members[0].certificate])
    assert trusts(made, served[0])
    assert made.current(NOW).certificate == lost.members[0].certificate
    assert has_issued(made.members[-1].certificate, served_by(made, NOW)), "no key but the new one is there to sign with"
    ended = walked(made, [NOW + minutes * 60 for minutes in range(0, 120, 5)], served)
    assert ended.members == made.members[1:]


def test_what_is_written_down_is_read_again() -> None:
    first = Authorities.first(NOW, TIMES, [Authorities.first(NOW, TIMES).members[0].certificate])
    assert Authorities.from_data(first.to_data()) == first
    assert b"PRIVATE" not in b"".join(value for name, value in first.to_data().items() if not name.endswith(".key"))
    assert "PRIVATE" not in repr(first)


def test_what_is_spoilt_is_never_taken_for_cas() -> None:
    data = Authorities.first(NOW, TIMES).to_data()
    name = next(entry for entry in data if entry.endswith(".key")).removesuffix(".key")
    other = Authorities.first(NOW, TIMES).members[0]
    spoilt: tuple[dict[str, bytes], ...] = (
        {},
        data | {"times.json": b"{}"},
        data | {"times.json": b"[]"},
        data | {f"{name}.crt": other.certificate},
        data | {f"{name}.key": other.key or b""},
        data | {f"{name}.key": b"nonsense"},
        {entry: value for entry, value in data.items() if not entry.endswith(".crt")},
        {entry: value for entry, value in data.items() if not entry.endswith(".key")},
    )
    for each in spoilt:
        with pytest.raises(InvalidInput, match="restore it, or delete it"):
            Authorities.from_data(each)


def test_expired_times_come_from_the_certificate() -> None:
    first = Authorities.first(NOW, TIMES)
    assert first.members[0].expiry == NOW + CA_DAYS * DAY
    assert replace(first.members[0], key=None).expiry == first.members[0].expiry


def test_one_of_a_clock_that_was_wrong_is_followed_at_once_and_trusted_a_while() -> None:
    ahead = Authorities.first(NOW + 700 * DAY, TIMES)
    served = [served_by(ahead, NOW + 700 * DAY)]
    mended = ahead.after(NOW, TIMES, served)
    assert trusts(mended, served[0])
    fresh = served_by(mended, NOW)
    assert x509.load_pem_x509_certificate(mended.signer(NOW).pair.certificate).not_valid_before_utc.timestamp() < NOW
    assert has_issued(mended.current(NOW).certificate, fresh)
    read = Authorities.from_data(mended.to_data())
    assert read.after(NOW + 5, TIMES, [fresh]) == read == mended, "once"
    assert len(read.after(NOW + TIMES.grace + 5, TIMES, [fresh]).members) == 1


def test_a_clock_that_is_a_little_behind_changes_nothing() -> None:
    first = Authorities.first(NOW, TIMES)
    assert first.after(NOW - 1800, TIMES, [served_by(first, NOW)]) == first
