"""One kept HTTP/1.1 connection, with or without TLS, whose requests cost the machine as little as they can."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Connection:
    """To 127.0.0.1; one request at a time. Connects when it is first used, and again after the server has closed."""

    port: int
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.server_name or 'localhost'}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        )
        return await self.send(head.encode() + body, answers_body=method != "HEAD")

    async def send(self, request: bytes, *, answers_body: bool = True) -> tuple[int, bytes]:
        """A request that was put together before. Status and body of the answer."""
        if self._writer is None or self._writer.is_closing():
            name: dict[str, Any] = {"server_hostname": self.server_name or "localhost"} if self.tls else {}
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls, limit=2**22, **name)
        assert self._reader
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head[9:12])
        length = head.find(b"content-length:")
        if not answers_body:
            return status, b""
        if length >= 0:
            return status, await self._reader.readexactly(int(head[length + 15 : head.index(b"\r", length)]))
        pieces = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            pieces.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return status, b"".join(pieces)

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def trusting_anyone() -> ssl.SSLContext:
    """TLS to a server whose certificate is not what is measured."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
