"""What a proof has come to is kept piece by piece, whenever it is killed."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from simulator.campaign import Total
from simulator.plan import Plan
from simulator.run import simulate
from tests.simulator import prove
from tests.simulator.journal import Fate, Journal, Searched, Seeds
from tests.simulator.prove_page import page, sum_of


def test_a_piece_that_was_kept_is_there_and_one_cut_short_is_not(tmp_path: Path) -> None:
    Journal("mutants", Fate, "abc", folder=tmp_path).keep(Fate("one", "scenarios"))
    with (tmp_path / "mutants-abc.jsonl").open("ab") as file:
        file.write(b'{"name":"tw')

    again = Journal("mutants", Fate, "abc", folder=tmp_path)
    assert again.rows() == [Fate("one", "scenarios")]
    again.keep(Fate("two", ""))

    assert again.rows() == [Fate("one", "scenarios"), Fate("two", "")]


def test_sums_survive_with_what_broke(tmp_path: Path) -> None:
    total = Total()
    total.add(simulate(Plan(seed=1, duration_s=60, ports=4)))
    journal = Journal("seeds", Seeds, "abc", folder=tmp_path)
    journal.keep(Seeds(1, 1, {"safety": total}))

    [row] = journal.rows()

    assert row.totals["safety"] == total
    assert isinstance(row.totals["safety"].faults, Counter)
    assert sum_of([row, row])["safety"].calls == 2 * total.calls


def test_seeds_go_on_where_they_were_stopped_and_the_page_tells_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prove, "PLAN", Plan(seed=0, duration_s=60, ports=4))
    monkeypatch.setattr(prove, "CHUNK", 1)
    journal = Journal("seeds", Seeds, "abc", folder=tmp_path)
    pages: list[str] = []

    def tell() -> None:
        pages.append(
            page(journal, Journal("states", Searched), Journal("mutants", Fate), prove.PLAN, 3)
        )

    prove.simulate_seeds(journal, 2, 1, time.monotonic() + 600, tell)
    prove.simulate_seeds(journal, 3, 1, time.monotonic() + 600, tell)

    assert [(row.first, row.last) for row in journal.rows()] == [(1, 1), (2, 2), (3, 3)]
    assert len(pages) == 3
    assert "| seeds | 3 | 0 |" in pages[-1]
