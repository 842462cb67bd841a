"""`dialgate state upgrade`, on a state of each kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialgate.cli import main
from dialgate.tables import SCHEMA
from tests.dialgate.sample import altered, write


def test_an_upgrade_says_what_it_did(
    state_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write(tmp_path, altered(("sqlite:////var/lib/dialgate/state.db", state_url))))

    assert main(["state", "upgrade", "--config", config]) == 0
    assert main(["state", "upgrade", "--config", config]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"the state has schema {SCHEMA} now; it had none",
        f"the state has schema {SCHEMA} already",
    ]


def test_a_state_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "postgresql://ann@/dialgate?host=/nonexistent"
    config = str(write(tmp_path, altered(("sqlite:////var/lib/dialgate/state.db", url))))

    assert main(["state", "upgrade", "--config", config]) == 1

    error = capsys.readouterr().err
    assert error.startswith("dialgate: postgresql://ann@")
    assert "the state can't be reached" in error
    assert error.count("\n") == 1
