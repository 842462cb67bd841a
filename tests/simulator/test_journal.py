"""What a proof has come to is kept piece by piece, whenever it is killed."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from simulator.campaign import Total
from simulator.plan import Plan
from simulator.run import simulate
from tests.simulator import prove
from tests.simulator.explained import EXPLAINED
from tests.simulator.journal import Journal, Searched, Seeds
from tests.simulator.mutants import HANGS, UNHARMED, Fate
from tests.simulator.prove_page import is_open, page, sum_of


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


def test_a_mutant_that_hangs_or_lives_is_no_killed_one_and_has_to_be_explained(
    tmp_path: Path,
) -> None:
    journal = Journal("mutants", Fate, "abc", folder=tmp_path)
    explained, *_ = EXPLAINED
    fates = [
        Fate(UNHARMED, ""),
        Fate("trace T01: a", "its scenario"),
        Fate("m:f: a -> False", "tests of the core", "test_a"),
        Fate(explained, ""),
        Fate("m:f: b -> False", HANGS, "test_b"),
        Fate("m:f: c -> False", ""),
    ]
    for fate in fates:
        journal.keep(fate)

    told = page(Journal("seeds", Seeds), Journal("states", Searched), journal, prove.PLAN, 1)

    assert [each.name for each in fates if is_open(each)] == ["m:f: b -> False", "m:f: c -> False"]
    assert "4 mutants planted, 1 killed, 1 live and are explained, 2 live unexplained." in told
    assert "Without a mutant the same tests pass." in told
    assert "guards of the 1 traces are taken away besides: 1 were killed" in told


def test_tests_that_fail_without_a_mutant_prove_nothing() -> None:
    assert is_open(Fate(UNHARMED, "tests_failed", "test_a"))


KILLED = Fate("m:f: a -> False", "tests of the core", "test_a")


def two_journals(folder: Path) -> tuple[Journal[Fate], Journal[Fate]]:
    earlier = Journal("mutants", Fate, "abc", folder=folder)
    for fate in (Fate(UNHARMED, ""), KILLED, Fate("m:f: b -> False", "")):
        earlier.keep(fate)
    return earlier, Journal("mutants", Fate, "def", folder=folder)


def test_who_was_killed_before_tests_were_added_is_not_planted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier, later = two_journals(tmp_path)
    said = {"--name-only": "", "--numstat": "3\t0\ttests/test_a.py"}
    monkeypatch.setattr(prove, "git", lambda *words: said[words[1]])

    prove.take_over(later, earlier)

    assert later.rows() == [replace(KILLED, commit="abc")]
    told = page(Journal("seeds", Seeds), Journal("states", Searched), later, prove.PLAN, 1)
    assert "1 of them were killed at commit `abc`, since when the cores are the same" in told


@pytest.mark.parametrize(
    "changed", [{"--name-only": "broker/core.py"}, {"--numstat": "3\t1\ttests/test_a.py"}]
)
def test_nobody_is_taken_over_from_before_a_core_or_a_test_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    earlier, later = two_journals(tmp_path)
    said = {"--name-only": "", "--numstat": "", **changed}
    monkeypatch.setattr(prove, "git", lambda *words: said[words[1]])

    with pytest.raises(SystemExit, match="changed since"):
        prove.take_over(later, earlier)

    assert later.rows() == []
