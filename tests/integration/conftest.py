"""A broker for the tests of a module, and players for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.integration.peers import Cast, stage
from tests.integration.processes import Broker, running_broker


@pytest.fixture(scope="module")
def broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Broker]:
    """Run one broker for the module, with the keys of its `BROKER_SETTINGS`."""
    settings: dict[str, Any] = getattr(request.module, "BROKER_SETTINGS", {})
    with running_broker(tmp_path_factory.mktemp("broker"), **settings) as running:
        yield running


@pytest.fixture
async def cast(broker: Broker) -> AsyncIterator[Cast]:
    """Give players who meet at the module's broker, and leave it at the test's end."""
    async with stage(broker.agents, broker.workers) as players:
        yield players
