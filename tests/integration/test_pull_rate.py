"""Real clients whose install is beyond its rate for the moment: they get their image later."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo_registry.image import MANIFEST_TYPE
from tests.integration.conftest import Content, proxied, workspace
from tests.integration.test_real_clients import skopeo
from tests.support.akua_process import AkuaProcess, akua_serve
from tests.support.containerd import containerd
from tests.support.docker_registry import DockerRegistry
from tests.support.proxied_world import basic


@pytest.fixture
def limited(tmp_path: Path, upstream: DockerRegistry) -> Iterator[AkuaProcess]:
    """Ten pulls at once, then one in two seconds."""
    with akua_serve(tmp_path / "akua", upstream_ca_file=str(upstream.ca_file), pull_install_rate="0.5") as running:
        running.drop("workspace", *workspace(upstream.authority))
        yield running


def use_up(akua: AkuaProcess, token: str, repository: str) -> None:
    """Pulls in a loop until it is refused."""
    url = f"http://{akua.host}/v2/{repository.partition('/')[2]}/manifests/1.0"
    statuses: list[int] = []
    with httpx.Client(headers={"Authorization": basic(token), "Accept": MANIFEST_TYPE}, trust_env=False) as client:
        while not statuses or statuses[-1] == 200:
            answer = client.get(url)
            statuses.append(answer.status_code)
    assert statuses[-1] == 429, answer.text
    assert answer.headers["retry-after"] in ("1", "2")


def refused(akua: AkuaProcess) -> int:
    metrics = httpx.get(f"http://{akua.operations}/metrics", trust_env=False).text
    found = re.search(r'^akua_refusals_total\{gate="audit",reason="rate-limited"\} (\d+)', metrics, re.M)
    return int(found[1]) if found else 0


def test_skopeo_waits_and_gets_its_image(
    limited: AkuaProcess, upstream: DockerRegistry, content: Content, tmp_path: Path
) -> None:
    repository = proxied(limited, upstream, "acme/app")
    use_up(limited, limited.token("shop"), repository)
    copied = skopeo(limited, "shop", "copy", f"docker://{repository}:1.0", f"oci:{tmp_path}/out:1.0")
    assert copied.returncode == 0, copied.stderr
    assert refused(limited) > 1


def test_containerd_says_why_and_gets_its_image_when_it_is_asked_again(
    limited: AkuaProcess, upstream: DockerRegistry, content: Content, tmp_path: Path
) -> None:
    repository, token, problems = proxied(limited, upstream, "acme/app"), limited.token("shop"), []
    with containerd(tmp_path / "containerd") as runtime:
        use_up(limited, token, repository)
        for _ in range(5):
            try:
                assert runtime.pull(f"{repository}:1.0", "shop", token)
                break
            except RuntimeError as error:
                problems.append(str(error))
                time.sleep(15)  # as the kubelet's back-off of 10, 20, 40 s does
        else:
            pytest.fail(problems[-1])
    assert all("429 Too Many Requests: rate-limited dec_" in problem for problem in problems)
    assert refused(limited) > 1
