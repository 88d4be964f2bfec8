"""Where nodes go, asked by the doctor over real TLS: met, not believed, not reached."""

from __future__ import annotations

import socket

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control.doctor.cluster.installation import Installation
from control.doctor.cluster.reach.route import ask, route_checks
from control.doctor.cluster.view import Lookup
from tests.support.fake_cluster import findings
from tests.support.tls import certificate_authority, served_tls


async def _ping(request: Request) -> Response:
    mirrored = request.query_params.get("ns", "")
    challenge = f'Basic realm="{mirrored}"' if mirrored else 'Bearer realm="https://oci.akua.dev/token"'
    return Response(status_code=401, headers={"WWW-Authenticate": challenge})


APP = Starlette(routes=[Route("/v2/", _ping)])


def bundle() -> str:
    return certificate_authority().cert_pem.bytes().decode()


async def test_the_answer_tells_challenge_and_expiry() -> None:
    async with served_tls(APP, "127.0.0.1") as server:
        url = f"https://{server.authority}"
        answer = await ask(url, ca=bundle(), namespace="oci.akua.dev")
        assert (answer.status, answer.challenge) == (401, 'Basic realm="oci.akua.dev"')
        assert answer.expires is not None
        assert (await ask(url, ca=bundle())).challenge.startswith("Bearer ")
        assert "self-signed" in (await ask(url)).untrusted or "issuer" in (await ask(url)).untrusted


async def test_a_certificate_for_another_name_is_not_believed() -> None:
    async with served_tls(APP, "localhost") as server:
        answer = await ask(f"https://127.0.0.1:{server.authority.rpartition(':')[2]}", ca=bundle())
        assert "127.0.0.1" in answer.untrusted
        assert answer.status == 0


async def test_what_is_not_there_is_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert (await ask(f"https://127.0.0.1:{port}")).unreached
    assert (await ask("https://[")).unreached
    assert (await ask(f"https://127.0.0.1:{port}", ca="no certificate")).unreached


async def test_the_way_of_nodes_that_are_told_and_of_those_that_resolve() -> None:
    async with served_tls(APP, "127.0.0.1") as server:
        port = int(server.authority.rpartition(":")[2])
        service = Lookup({"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port}]}})
        ca = Lookup({"data": {"ca.crt": bundle()}})
        told = Installation("oci.akua.dev", service=service, ca=ca, node_trust=Lookup({"status": {}}))
        assert findings(*await route_checks(told, [])) == [("good", "route"), ("good", "trust")]
        resolving = Installation(server.authority, ca=ca)
        checks = await route_checks(resolving, ["127.0.0.1"])
        assert findings(*checks) == [("good", "route"), ("bad", "trust")]
        assert "of our own CA" in checks[1].detail
