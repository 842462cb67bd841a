"""What a broker starts with, and what it does not: it keeps nothing on disk in order to route."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.integration.processes import (
    START_S,
    dialgate,
    running_broker,
    wait_until,
    write_broker_config,
)


def test_another_programs_state_is_refused_in_one_line_and_left_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    with closing(sqlite3.connect(state)) as foreign:
        foreign.execute("CREATE TABLE songs (title TEXT)")
    before = state.read_bytes()
    write_broker_config(tmp_path, insecure=True)

    done = dialgate("broker", "--config", tmp_path / "broker.toml")

    assert (done.returncode, done.stderr) == (
        1,
        f"dialgate: {state}: belongs to another program: name another database\n",
    )
    assert state.read_bytes() == before


def test_a_state_that_can_not_be_reached_keeps_no_caller_out(tmp_path: Path) -> None:
    with running_broker(tmp_path, state="postgresql://127.0.0.1:1/dialgate") as broker:
        wait_until(
            lambda: broker.metric("dialgate_broker_state_failing") == 1,
            lambda: "the state does not fail",
            START_S,
        )
        assert broker.status("/readyz") == 200
