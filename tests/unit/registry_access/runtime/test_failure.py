"""Why a connection failed: in words, whatever the library raised."""

from __future__ import annotations

import errno
import socket
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from registry_access.runtime.failure import why

KEY = ConnectionKey("ghcr.io", 443, True, True, None, None, None)


def verification(text: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {text} (_ssl.c:992)")
    error.verify_message = text
    return error


def tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")
    error.reason = reason
    return error


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ECONNREFUSED, "Connect call failed")), "connection refused"),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.EHOSTUNREACH, "x")), "no route to host"),
        (aiohttp.ClientConnectorCertificateError(KEY, verification("self-signed certificate")), "not trusted: self-signed"),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "Name or service not known")), "its name does not resolve"),
        (aiohttp.ClientConnectorSSLError(KEY, tls("WRONG_VERSION_NUMBER")), "it does not speak TLS on this port"),
        (aiohttp.ClientConnectorSSLError(KEY, tls("SSLV3_ALERT_HANDSHAKE_FAILURE")), "sslv3 alert handshake failure"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (aiohttp.ClientOSError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer"),
        (httpx.ConnectError(""), "the connection failed"),
        (caused(httpx.ConnectError(""), ConnectionResetError(errno.ECONNRESET, "")), "connection reset by peer"),
        (httpx.ReadTimeout(""), "it did not answer in time"),
        (caused(httpx.ConnectTimeout(""), TimeoutError()), "it did not answer in time"),
        (TimeoutError(), "it did not answer in time"),
        (OSError(), "the connection failed"),
    ],
)
def test_it_says_what_went_wrong(error: BaseException, says: str) -> None:
    found = why(error)
    assert says in found
    for noise in ("_ssl.c", "Error(", "Errno", "[SSL", type(error).__name__):
        assert noise not in found


def test_a_cause_that_goes_round_in_circles_ends() -> None:
    one, two = ValueError(""), ValueError("")
    one.__cause__, two.__cause__ = two, one
    assert why(one) == "the connection failed"
