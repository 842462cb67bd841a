"""The HTTP side of every program: health, metrics, and who is turned away."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge

from dialgate.errors import ListenError
from dialgate.http import BODY_BYTES_MAX, build_app, serve


class Health:
    """Whether the program is well, as the test wants it."""

    def __init__(self) -> None:
        self.reason: str | None = None

    def __call__(self) -> str | None:
        return self.reason


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
def ready() -> Health:
    return Health()


@pytest.fixture
def live() -> Health:
    return Health()


def app_of(ready: Health, live: Health, token: str = "") -> web.Application:
    registry = CollectorRegistry()
    Gauge("dialgate_test_ports", "Ports.", registry=registry).set(3)
    app = build_app(registry=registry, ready=ready, live=live, operator_token=token)

    async def order(request: web.Request) -> web.Response:
        return web.json_response(await request.json())

    app.router.add_post("/order", order)
    return app


@pytest.fixture
async def base(ready: Health, live: Health) -> AsyncIterator[str]:
    """Serve on a loopback address; return its URL."""
    address = f"127.0.0.1:{free_port()}"
    async with serve(app_of(ready, live), address):
        yield f"http://{address}"


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


async def test_readyz_says_in_one_line_why_not(
    base: str, ready: Health, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{base}/readyz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    ready.reason = "draining"
    async with client.get(f"{base}/readyz") as response:
        assert (response.status, await response.text()) == (503, "draining\n")


async def test_livez_does_not_depend_on_readiness(
    base: str, ready: Health, live: Health, client: aiohttp.ClientSession
) -> None:
    ready.reason = "no broker"
    async with client.get(f"{base}/livez") as response:
        assert response.status == HTTPStatus.OK
    live.reason = "the ZAP handler is gone"
    async with client.get(f"{base}/livez") as response:
        assert (response.status, await response.text()) == (503, "the ZAP handler is gone\n")


async def test_metrics_are_what_prometheus_reads(base: str, client: aiohttp.ClientSession) -> None:
    async with client.get(f"{base}/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        assert "dialgate_test_ports 3.0" in await response.text()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:7780", "[::1]:7780", "localhost:1"])
async def test_a_request_to_this_machine_is_answered(
    host: str, base: str, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{base}/livez", headers={"Host": host}) as response:
        assert response.status == HTTPStatus.OK


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7780", "localhost.evil", "::1"])
async def test_a_web_page_that_points_its_name_at_this_machine_is_turned_away(
    host: str, base: str, client: aiohttp.ClientSession
) -> None:
    async with client.get(f"{base}/metrics", headers={"Host": host}) as response:
        assert response.status == HTTPStatus.MISDIRECTED_REQUEST


async def test_an_order_that_a_form_could_send_is_refused(
    base: str, client: aiohttp.ClientSession
) -> None:
    async with client.post(f"{base}/order", data={"act": "reset"}) as response:
        assert response.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    async with client.post(f"{base}/order", json={"act": "reset"}) as response:
        assert await response.json() == {"act": "reset"}


async def test_a_body_over_the_limit_is_refused(base: str, client: aiohttp.ClientSession) -> None:
    body = {"text": "x" * BODY_BYTES_MAX}
    async with client.post(f"{base}/order", json=body) as response:
        assert response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


async def test_off_loopback_an_order_needs_a_token_that_must_be_set(
    ready: Health, live: Health, client: aiohttp.ClientSession
) -> None:
    port = free_port()
    async with (
        serve(app_of(ready, live), f"0.0.0.0:{port}"),
        client.post(f"http://127.0.0.1:{port}/order", json={}) as response,
    ):
        assert response.status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, HTTPStatus.UNAUTHORIZED),
        ({"Authorization": "Bearer wrong"}, HTTPStatus.UNAUTHORIZED),
        ({"Authorization": "Bearer \u00e5"}, HTTPStatus.UNAUTHORIZED),
        ({"Authorization": "Bearer right"}, HTTPStatus.OK),
    ],
)
async def test_where_a_token_is_set_every_order_shows_it(
    headers: dict[str, str],
    status: HTTPStatus,
    ready: Health,
    live: Health,
    client: aiohttp.ClientSession,
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with serve(app_of(ready, live, "right"), f"*:{port}"):
        async with client.post(f"{url}/order", json={}, headers=headers) as response:
            assert response.status == status
        async with client.get(f"{url}/metrics", headers={"Host": "north.example"}) as response:
            assert response.status == HTTPStatus.OK


async def test_an_address_that_is_taken_is_said_in_one_line(
    ready: Health, live: Health, base: str
) -> None:
    address = base.removeprefix("http://")

    with pytest.raises(ListenError) as caught:
        async with serve(app_of(ready, live), address):
            pass
    assert str(caught.value) == f"http {address} can't be listened on: Address already in use"
