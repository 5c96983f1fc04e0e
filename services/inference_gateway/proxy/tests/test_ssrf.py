"""Where a user may send the gateway, and where not."""

from __future__ import annotations

import openai
import pytest

from services.inference_gateway.proxy.pool import split_base_url
from services.inference_gateway.proxy.snapshot import Target
from services.inference_gateway.proxy.ssrf import Policy, UpstreamRefused, check_url
from services.inference_gateway.proxy.tests import upstreams
from services.inference_gateway.proxy.tests.support import deployment
from services.inference_gateway.proxy.tests.test_completions import ask
from services.inference_gateway.proxy.tests.upstreams import raw

OPEN = Policy(allow_loopback=True, allow_private=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/v1", "http://[::ffff:169.254.169.254]/v1", "http://[fd00:ec2::254]/v1",
        "http://100.100.100.200/v1", "http://[fe80::1]/v1", "http://[64:ff9b::a9fe:a9fe]/v1",
        "http://[2002:a9fe:a9fe::]/v1", "http://0.0.0.0/v1", "http://[::]/v1", "http://224.0.0.1/v1",
        "file:///etc/passwd", "gopher://example.com/", "ftp://example.com/", "//example.com/v1", "http:///v1",
        "http://user:pass@example.com/v1", "http://example.com/v1?x=1", "http://example.com/v1#x",
        "http://exa mple.com/v1", "http://example.com/v1\r\nx: y", "http://example.com:0/v1", "http://x:99999/",
    ],
)  # fmt: skip
def test_these_are_never_allowed(url):
    with pytest.raises(UpstreamRefused):
        check_url(url, OPEN)


@pytest.mark.parametrize("url", ["http://10.0.0.5/v1", "http://192.168.1.1/v1", "http://[fd12::1]/v1"])
def test_private_networks_want_a_setting(url):
    with pytest.raises(UpstreamRefused, match="GYRE_PROXY_ALLOW_PRIVATE=true"):
        check_url(url, Policy())
    check_url(url, OPEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://[::1]/v1", "http://[::ffff:127.0.0.1]/v1"])
def test_this_machine_wants_a_setting_too_which_is_on_by_default(url):
    check_url(url, Policy())
    with pytest.raises(UpstreamRefused, match="GYRE_PROXY_ALLOW_LOOPBACK=true"):
        check_url(url, Policy(allow_loopback=False))


def test_public_addresses_and_names_are_allowed():
    for url in ("https://api.example.com/v1", "http://8.8.8.8:8000/v1", "https://[2606:4700::1111]/v1"):
        check_url(url, Policy(allow_loopback=False))
    assert split_base_url("https://api.example.com/a/v1/", True, Policy())[1] == "/a/v1"


async def test_a_name_is_checked_when_it_is_resolved_whatever_it_said_before(start):
    async with raw(upstreams.answers()) as engine:
        port = engine.address.rpartition(":")[2]
        target = deployment(Target("t1", upstream_url=f"http://localhost:{port}/v1"))
        running = await start(target, allow_loopback=False)
        with pytest.raises(openai.InternalServerError, match="GYRE_PROXY_ALLOW_LOOPBACK") as caught:
            await ask(running)
        assert caught.value.status_code == 502 and engine.connections == 0


async def test_the_address_of_our_own_replica_needs_no_setting(start):
    async with raw(upstreams.answers()) as engine:
        running = await start(deployment(Target("t1", address=engine.address)), allow_loopback=False)
        assert (await ask(running)).choices
