"""The reference page says what the code reads."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import pytest

from dialgate.settings import (
    AgentSettings,
    AuthenticatorSettings,
    BankSettings,
    BrokerSettings,
    ClusterSettings,
    ModelSettings,
    PolicySettings,
    PortSettings,
    ServiceSettings,
    WorkerSettings,
)
from dialgate.settings.reference import field_docs, page

PAGE: Final = Path(__file__).parents[3] / "docs" / "configuration.md"

TABLES: Final = [
    AgentSettings,
    AuthenticatorSettings,
    BankSettings,
    BrokerSettings,
    ClusterSettings,
    ModelSettings,
    PolicySettings,
    PortSettings,
    ServiceSettings,
    WorkerSettings,
]


def test_the_page_is_the_one_that_the_code_makes() -> None:
    assert PAGE.read_text() == page(), (
        "run: python -m dialgate.settings.reference > docs/configuration.md"
    )


@pytest.mark.parametrize("table", TABLES)
def test_every_key_has_its_meaning_under_it(table: type[msgspec.Struct]) -> None:
    assert list(field_docs(table)) == list(table.__struct_fields__)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_on_the_page(table: type[msgspec.Struct]) -> None:
    for key in table.__struct_fields__:
        assert f"| `{key}` | " in page()
