"""The demo's steps, in order. Each shows something and checks that it holds."""

from __future__ import annotations

import asyncio
import base64
import copy
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jsonpatch
from rich.table import Table
from rich.text import Text

from cli.demo.client import PulledImage, PullFailed, RegistryClient
from cli.demo.pod import creation_review, pod_of
from cli.demo.stage import Stage, StepFailed
from cli.demo.world import World
from cli.preview.explain import gates
from control.explanation import decide
from registry_access.audit.interface import AuditQuery, AuditRow
from registry_access.model.audit_event import Operation, Result
from registry_access.model.decision import Reason
from registry_access.model.resources import Kind

_SLOW = 2_000_000  # bytes per second, slow enough to cut a pull in the middle
_BRISK = 16_000_000
_SECONDS = 60.0
_PATIENCE = 15.0


class Tour:
    """Raises StepFailed at the first step that does not hold."""

    def __init__(self, world: World, stage: Stage) -> None:
        self._world = world
        self._stage = stage
        self._storefront = f"{world.upstream('packages')}/acme/storefront:1.4"
        self._billing = f"{world.upstream('packages')}/acme/billing:1.4"
        self._worker = f"{world.upstream('partner')}/partner/worker:1.4"

    async def run(self) -> None:
        await self.introduce()
        await self.admission()
        await self.pull()
        await self.not_bought()
        await self.audit_trail()
        await self.revocation()
        await self.credential()
        await self.proof()

    async def introduce(self) -> None:
        stage, world = self._stage, self._world
        stage.step("Two private registries, one product, two customers")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for kind, name, about in (
            ("upstream", world.upstream("packages"), "private, gives Bearer tokens for a user name and password"),
            ("upstream", world.upstream("partner"), "private, asks for Basic"),
            ("product", "storefront", "acme/storefront of the first, partner/* of the second"),
            ("install", "shop", "bought storefront, runs in namespace shop-prod"),
            ("install", "kiosk", "bought storefront, runs in namespace kiosk-prod"),
            ("proxy", world.host, "the only registry that clusters ever talk to"),
        ):
            table.add_row(Text(kind, "cyan"), Text(name, "bold"), Text(about))
        stage.show(table)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://{world.upstream('packages')}/v2/acme/storefront/manifests/1.4")
        stage.holds(answer.status_code == 401, "the upstream refuses a request without a credential (401)")
        secrets = [secret for secret in world.store.index.secrets() if secret.metadata.namespace.endswith("-prod")]
        values = b"".join(value for secret in secrets for value in secret.data.values())
        held = len(secrets) == 2 and world.packages.password.encode() not in values
        stage.holds(held, "each customer namespace holds one pull Secret, with no upstream credential in it")

    async def admission(self) -> None:
        stage = self._stage
        stage.step("A pod is created in shop-prod: the admission webhook rewrites it")
        before = pod_of(self._storefront, self._worker)
        after, warnings = await self._admit(before)
        stage.diff(before, after)
        images = [container["image"] for container in (*after["spec"]["initContainers"], *after["spec"]["containers"])]
        stage.holds(all(image.startswith(f"{self._world.host}/") for image in images), "both images now name the proxy")
        names = [secret["name"] for secret in after["spec"]["imagePullSecrets"]]
        stage.holds(names == ["their-own", "akua-pull-shop"], "the pull Secret is appended; the existing one stays")
        again, _ = await self._admit(after)
        stage.holds(again == after and not warnings, "a second review changes nothing")

    async def pull(self) -> None:
        stage, world = self._stage, self._world
        stage.step("The pod's images are pulled through the proxy")
        world.packages.rate = world.partner.rate = _BRISK
        async with self._client("shop") as client:
            with stage.pulls() as pulls:
                first, second = await asyncio.gather(
                    client.pull(*self._name(self._storefront), lambda *moved: pulls.moved("shop", *moved)),
                    client.pull(*self._name(self._worker), lambda *moved: pulls.moved("shop", *moved)),
                )
        own = world.packages.repository("acme/storefront").tags["1.4"]
        stage.holds(first.digest == own, f"digest equal to the upstream's: {own[:25]}…")
        stage.holds(second.layers == 2, "the second registry was logged in to with Basic, the first with a Bearer token")

    async def not_bought(self) -> None:
        stage = self._stage
        stage.step("acme/billing is not part of the product")
        await self._refused("shop", self._billing, Reason.NOT_ENTITLED)
        self._explain("shop", self._billing)

    async def audit_trail(self) -> None:
        stage = self._stage
        stage.step("Every pull, allowed or refused, is in the audit trail")
        stage.run("akua audit list --install shop")
        rows = await self._rows(install="shop")
        refused = next(row for row in rows if row.outcome and row.outcome.result is Result.REFUSED)
        admitted = next((row for row in rows if row.event.operation is Operation.ADMISSION), None)
        self._show_rows((*rows[:6], *([admitted] if admitted else [])))
        allowed = [row for row in rows if row.outcome and row.outcome.result is Result.ALLOWED and row.outcome.bytes]
        stage.holds(
            refused.event.repository == "acme/billing", f"the refusal is recorded, with decision {refused.event.decision_id}"
        )
        stage.holds(admitted is not None and admitted.event.pod == "shop-prod/storefront", "so is the pod that asked for them")
        received = sum(row.outcome.bytes for row in allowed if row.outcome)
        stage.holds(
            received > sum((1_500_000, 4_000_000, 12_000_000)), f"and {received / 1e6:.1f} MB in {len(allowed)} allowed requests"
        )

    async def revocation(self) -> None:
        stage, world = self._stage, self._world
        stage.step("shop is revoked in the middle of a pull while kiosk pulls the same image")
        world.packages.rate = _SLOW
        async with self._client("shop") as shop, self._client("kiosk") as kiosk:
            with stage.pulls() as pulls:
                name = self._name(self._storefront)
                first = asyncio.create_task(shop.pull(*name, lambda *moved: pulls.moved("shop", *moved)))
                second = asyncio.create_task(kiosk.pull(*name, lambda *moved: pulls.moved("kiosk", *moved)))
                async with asyncio.timeout(_SECONDS):
                    while pulls.share("shop") < 0.35 and not first.done():  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                    before = time.monotonic()
                    await world.edit(Kind.INSTALL, "shop", {"revoked": True})
                    outcome = (await asyncio.gather(first, return_exceptions=True))[0]
                    felt = (time.monotonic() - before) * 1000
                    share = pulls.share("shop")
                    pulls.cut("shop")
                    going_on = not second.done()
                    world.packages.rate = _BRISK
                    pulled = (await asyncio.gather(second, return_exceptions=True))[0]
        stage.run("akua install revoke shop")
        cut = isinstance(outcome, PullFailed) and share < 1
        stage.holds(cut, f"shop's pull was cut at {share:.0%}, {felt:.0f} ms after the revocation was written")
        stage.holds(going_on and isinstance(pulled, PulledImage), "kiosk continued, and has the whole image")
        rows = await self._rows(install="shop", result=Result.CUT)
        stage.holds(bool(rows), f"the audit trail records it: {len(rows)} streams cut")
        await self._refused("shop", self._storefront, Reason.INSTALL_REVOKED)
        self._explain("shop", self._storefront)
        await world.edit(Kind.INSTALL, "shop", {"revoked": None})
        stage.run("akua install restore shop")
        await self._pulls_again("shop", "after the restore, the same token pulls the same image")

    async def credential(self) -> None:
        stage, world = self._stage, self._world
        stage.step("The upstream credential is disabled, then enabled again")
        before = self._versions()
        await world.edit(Kind.REGISTRY_CREDENTIAL, "packages", {"disabled": True})
        stage.run("akua credential disable packages")
        await self._refused("kiosk", self._storefront, Reason.CREDENTIAL_DISABLED)
        self._explain("kiosk", self._storefront)
        await world.edit(Kind.REGISTRY_CREDENTIAL, "packages", {"disabled": None})
        stage.run("akua credential enable packages")
        await self._pulls_again("kiosk", "after enabling it, kiosk pulls again")
        stage.holds(self._versions() == before, "nothing changed in the customers' namespaces")

    async def proof(self) -> None:
        stage = self._stage
        stage.step("The audit trail proves itself")
        stage.run("akua audit verify")
        await self._rows()
        assert self._world.process.proxy_parts is not None  # noqa: S101 - the process runs
        report = await self._world.process.proxy_parts.services.trail.verify()
        stage.holds(
            report.ok and report.records > 0, f"{report.records} records, each chained to the one before it, none altered"
        )

    async def _admit(self, pod: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The pod as the API server would store it after asking the webhook over TLS."""
        process = self._world.process
        trust = ssl.create_default_context(cafile=str(process.authority.certificate))
        async with httpx.AsyncClient(verify=trust, trust_env=False) as client:
            answer = await client.post(f"https://{process.address('webhook')}/mutate", json=creation_review(pod))
        response = answer.json()["response"]
        patch = base64.b64decode(response["patch"]) if "patch" in response else b"[]"
        return jsonpatch.apply_patch(copy.deepcopy(pod), patch.decode()), response.get("warnings", [])

    @asynccontextmanager
    async def _client(self, install: str) -> AsyncIterator[RegistryClient]:
        client = RegistryClient(self._world.host, install, self._world.token(install))
        try:
            yield client
        finally:
            await client.close()

    def _name(self, image: str) -> tuple[str, str]:
        """The repository and tag that an upstream image has at the proxy."""
        name, _, tag = image.rpartition(":")
        registry, _, repository = name.partition("/")
        return f"{registry.replace(':', '_')}/{repository}", tag

    async def _refused(self, install: str, image: str, reason: Reason) -> None:
        """Pulls until the watch has delivered the change, and expects the refusal."""
        async with self._client(install) as client:
            error = await self._until(client, image, refused=True)
        assert isinstance(error, PullFailed)  # noqa: S101 - that is what was waited for
        self._stage.show(Text(f"{install} pulls {image}:"))
        self._stage.error(f"{error.status} {error}")
        self._stage.holds(error.reason == reason and bool(error.decision), f"refused: {reason}, with a decision id to ask about")

    async def _pulls_again(self, install: str, sentence: str) -> None:
        async with self._client(install) as client:
            pulled = await self._until(client, self._storefront, refused=False)
        self._stage.holds(isinstance(pulled, PulledImage), sentence)

    async def _until(self, client: RegistryClient, image: str, *, refused: bool) -> PulledImage | PullFailed:
        """The outcome of a pull, retried briefly until it is the expected one."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            outcome: PulledImage | PullFailed
            try:
                outcome = await client.pull(*self._name(image))
            except PullFailed as error:
                outcome = error
            if isinstance(outcome, PullFailed) is refused:
                return outcome
            if time.monotonic() > deadline:
                said = str(outcome) if isinstance(outcome, PullFailed) else "it was pulled"
                raise StepFailed(f"the pull of {image} should have been {'refused' if refused else 'allowed'}: {said}")
            await asyncio.sleep(0.1)

    def _explain(self, install: str, image: str) -> None:
        self._stage.run(f"akua explain {install} {image}")
        world = self._world
        decision, _ = decide(world.store.index, world.install(install), image, world.process.settings)
        self._stage.show(gates(decision))

    async def _rows(self, **query: Any) -> tuple[AuditRow, ...]:
        """Audit rows, newest first, once no event is in progress."""
        assert self._world.process.proxy_parts is not None  # noqa: S101 - the process runs
        trail = self._world.process.proxy_parts.services.trail
        deadline = time.monotonic() + _PATIENCE
        while True:
            rows = (await trail.query(AuditQuery(**query))).rows
            if (rows and all(row.outcome for row in rows) and not trail.lag()) or time.monotonic() > deadline:
                return rows
            await asyncio.sleep(0.05)

    def _show_rows(self, rows: tuple[AuditRow, ...]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for column in ("TIME", "OPERATION", "REPOSITORY", "RESULT", "BYTES", "DECISION"):
            table.add_column(column, no_wrap=column != "REPOSITORY", justify="right" if column == "BYTES" else "left")
        for row in reversed(rows):
            outcome = row.outcome
            moment = time.strftime("%H:%M:%S", time.localtime(row.event.time / 1000))
            result = str(outcome.result) if outcome else "…"
            style = "green" if outcome and outcome.result is Result.ALLOWED else "red"
            table.add_row(
                moment,
                str(row.event.operation),
                row.event.repository,
                Text(result, style),
                f"{outcome.bytes:,}" if outcome else "",
                row.event.decision_id[:12] + "…",
            )
        self._stage.show(table)

    def _versions(self) -> list[str]:
        """What the customers' namespaces hold, by UID and resource version."""
        index = self._world.store.index
        held = [*index.all_grants(), *index.secrets()]
        return sorted(
            f"{item.metadata.uid}/{item.metadata.resource_version}" for item in held if item.metadata.namespace.endswith("-prod")
        )
