"""An HTTP proxy before a real API server that goes wrong on demand: frozen, cut, lying, or gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from tests.support.kubernetes import ControlPlane
from tests.support.ports import free_port

_HOP_HEADERS = frozenset({"host", "connection", "transfer-encoding", "content-length", "authorization", "content-encoding"})


class FaultProxy:
    """`address` stands for the API server. Faults apply to the requests whose path ends in one of `plurals` (empty: to all)."""

    def __init__(self, plane: ControlPlane) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.requests: Counter[str] = Counter()  # "watch installs", "list installs", "PATCH akua-heartbeat"
        self.plurals: frozenset[str] = frozenset()
        self.frozen = False  # takes every byte and gives none
        self.empty_watches = False  # watches answer 200 and end
        self.watch_status = 0  # watches answer with this status
        self.lists: dict[str, bytes] = {}  # plural -> what a stale replica answers to a list
        self.required_token = ""
        self._plane = plane
        self._access = plane.access()
        self._streams: dict[web.StreamResponse, str] = {}
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """On the same port each time."""
        self._session = aiohttp.ClientSession(auto_decompress=False)
        application = web.Application(client_max_size=2**24)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """As if the API server were gone: connections end, new ones are refused."""
        self.cut()
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()
        self._runner = self._session = None

    def cut(self) -> None:
        """Ends the watches, in the middle of whatever they say."""
        for stream, name in list(self._streams.items()):
            if self._applies(name) and (transport := _transport(stream)):
                transport.abort()

    async def say(self, line: bytes) -> None:
        """Puts bytes into the watches."""
        for stream, name in list(self._streams.items()):
            if self._applies(name):
                await stream.write(line)

    def watches(self, name: str) -> bool:
        """Whether somebody watches that plural now."""
        return name in self._streams.values()

    def _applies(self, name: str) -> bool:
        return not self.plurals or name in self.plurals

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        watch = request.query.get("watch") == "true"
        self.requests[f"{'watch' if watch else 'list' if request.method == 'GET' else request.method} {name}"] += 1
        if self.required_token and request.headers.get("Authorization") != f"Bearer {self.required_token}":
            return web.json_response({"kind": "Status", "code": 401, "message": "Unauthorized"}, status=401)
        if self._applies(name):
            await self._stay_frozen()
            if watch and self.watch_status:
                status = {"kind": "Status", "code": self.watch_status, "reason": "Expired", "message": "too old resource version"}
                return web.json_response(status, status=self.watch_status)
            if watch and self.empty_watches:
                return web.Response(content_type="application/json")
            if not watch and request.method == "GET" and name in self.lists:
                return web.Response(body=self.lists[name], content_type="application/json")
        return await self._pass_on(request, name, watch)

    async def _stay_frozen(self) -> None:
        while self.frozen:
            await asyncio.sleep(0.01)

    async def _pass_on(self, request: web.Request, name: str, watch: bool) -> web.StreamResponse:
        assert self._session
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_HEADERS}
        headers |= {"Authorization": f"Bearer {self._plane.token}", "Accept-Encoding": "identity"}
        async with self._session.request(
            request.method,
            self._plane.server + request.path_qs,
            data=await request.read(),
            headers=headers,
            ssl=self._access.tls,
            server_hostname=self._access.tls_server_name,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            stream = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]})
            await stream.prepare(request)
            if watch:
                self._streams[stream] = name
            try:
                async for chunk in answer.content.iter_any():
                    if self._applies(name):
                        await self._stay_frozen()
                    await stream.write(chunk)
                await stream.write_eof()
            except (ConnectionError, aiohttp.ClientError):
                pass
            finally:
                self._streams.pop(stream, None)
            return stream


def _transport(stream: web.StreamResponse) -> asyncio.Transport | None:
    request = stream._req
    return request.transport if request is not None else None


@contextlib.asynccontextmanager
async def running_fault_proxy(plane: ControlPlane) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(plane)
    await proxy.start()
    try:
        yield proxy
    finally:
        proxy.frozen = False
        await proxy.stop()
