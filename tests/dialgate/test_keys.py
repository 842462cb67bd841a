"""Key files: what is made, what is refused, and whose a key is."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq

from dialgate.errors import KeyFileError
from dialgate.keys import (
    Directory,
    Right,
    create_directory,
    create_pair,
    load_directory,
    load_pool_key,
    load_secret,
)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Return a directory with a pool key."""
    directory = tmp_path / "keys"
    create_directory(directory)
    return directory


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_init_makes_a_private_directory_and_the_pools_key(keys: Path) -> None:
    assert mode(keys) == 0o700
    assert mode(keys / "pool.key") == 0o600
    assert len(load_pool_key(keys / "pool.key")) == 32


def test_init_again_changes_nothing(keys: Path) -> None:
    before = load_pool_key(keys / "pool.key")

    assert not create_directory(keys)
    assert load_pool_key(keys / "pool.key") == before


def test_a_pair_is_a_secret_of_its_own_and_a_public_file_for_others(keys: Path) -> None:
    right = create_pair(keys, "agent", "oslo-1", site="oslo", hports=['oslo/"*', "\\x"])
    pair = load_secret(keys, "agent", "oslo-1")

    assert mode(keys / "agent-oslo-1.secret") == 0o600
    assert mode(keys / "agent-oslo-1.key") == 0o644
    assert pair.public == zmq.curve_public(pair.secret)
    assert load_directory(keys).right_of(pair.public.decode()) == right
    assert right == Right(
        role="agent",
        name="oslo-1",
        key=pair.public.decode(),
        site="oslo",
        hports=('oslo/"*', "\\x"),
    )


@pytest.mark.parametrize("left", ["agent-a.secret", "agent-a.key"])
def test_a_key_is_never_overwritten(left: str, keys: Path) -> None:
    create_pair(keys, "agent", "a")
    before = (keys / left).read_text()
    for file in keys.glob("agent-a.*"):
        if file.name != left:
            file.unlink()

    with pytest.raises(KeyFileError, match="exists; to replace the key, delete both its files"):
        create_pair(keys, "agent", "a")
    assert (keys / left).read_text() == before
    assert len(list(keys.glob("agent-a.*"))) == 1


def test_a_secret_is_in_no_repr(keys: Path) -> None:
    create_pair(keys, "worker", "w")
    pair = load_secret(keys, "worker", "w")

    assert pair.secret.decode() not in repr(pair)


@pytest.mark.parametrize("open_to", [0o604, 0o640, 0o620])
def test_a_secret_that_others_can_reach_is_refused(open_to: int, keys: Path) -> None:
    create_pair(keys, "worker", "w")
    (keys / "worker-w.secret").chmod(open_to)
    (keys / "pool.key").chmod(open_to)

    with pytest.raises(KeyFileError, match="is open to others: chmod 600"):
        load_secret(keys, "worker", "w")
    with pytest.raises(KeyFileError, match="is open to others: chmod 600"):
        load_pool_key(keys / "pool.key")


def test_a_missing_secret_is_named_with_the_command_that_makes_it(keys: Path) -> None:
    with pytest.raises(KeyFileError, match="make it with: dialgate keys new broker b"):
        load_secret(keys, "broker", "b")


@pytest.mark.parametrize("content", ["", "short", "x" * 41, "~" * 40])
def test_what_is_no_secret_is_refused_and_not_shown(content: str, keys: Path) -> None:
    file = keys / "worker-w.secret"
    file.write_text(content)
    file.chmod(0o600)

    with pytest.raises(KeyFileError) as caught:
        load_secret(keys, "worker", "w")
    assert str(caught.value) == f"{file}: is no CURVE secret key (40 characters of Z85)"


def test_what_is_no_pool_key_is_refused(keys: Path) -> None:
    (keys / "pool.key").write_text("AAAA\n")

    with pytest.raises(KeyFileError, match="is no pool key"):
        load_pool_key(keys / "pool.key")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("agent-a.key", "role = ", "Invalid value"),
        ("agent-a.key", 'role = "king"\nname = "a"\nkey = "x"', "Invalid enum value 'king'"),
        ("agent-a.key", 'role = "agent"\nname = "a"', "missing required field `key`"),
        ("agent-a.key", f'role = "agent"\nname = "b"\nkey = "{"x" * 40}"', "key of agent b"),
        ("agent-a.key", 'role = "agent"\nname = "a"\nkey = "x"', "not 40 characters of Z85"),
        ("agent-a.key", f'role = "agent"\nname = "a"\nkey = "{"x" * 40}"\nx = 1', "unknown field"),
    ],
)
def test_an_unfit_public_file_is_named_and_never_left_out(
    name: str, content: str, reason: str, keys: Path
) -> None:
    create_pair(keys, "broker", "b")
    (keys / name).write_text(content)

    with pytest.raises(KeyFileError, match=f"{name}: .*{reason}"):
        load_directory(keys)


def test_a_running_broker_leaves_an_unfit_file_out_and_keeps_the_others(keys: Path) -> None:
    """Else a key that is deleted beside a faulty file would stay in force."""
    right = create_pair(keys, "agent", "a")
    (keys / "worker-w.key").write_text("role = ")
    left_out: list[KeyFileError] = []

    directory = load_directory(keys, leave_out=left_out.append)

    assert directory.rights == (right,)
    assert "worker-w.key" in str(left_out[0])


def test_one_key_belongs_to_one_process(keys: Path) -> None:
    create_pair(keys, "agent", "a")
    copy = (keys / "agent-a.key").read_text().replace('name = "a"', 'name = "b"')
    (keys / "agent-b.key").write_text(copy)

    with pytest.raises(KeyFileError, match=r"agent-b\.key: has the same key as agent-a\.key"):
        load_directory(keys)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="make it with: dialgate keys init"):
        load_directory(tmp_path / "none")
    with pytest.raises(KeyFileError, match="make it with: dialgate keys init"):
        create_pair(tmp_path / "none", "broker", "b")


def test_a_key_that_nobody_has_a_file_of_has_no_right(keys: Path) -> None:
    assert load_directory(keys).right_of("x" * 40) is None


def test_the_only_brokers_key_needs_no_name_and_of_several_one_is_named() -> None:
    def broker(name: str) -> Right:
        return Right(role="broker", name=name, key=name * 40)

    agent = Right(role="agent", name="x", key="x" * 40)
    one, two = Directory([broker("a"), agent]), Directory([broker("a"), broker("b"), agent])

    assert one.broker_key() == b"a" * 40
    assert two.broker_key("b") == b"b" * 40
    with pytest.raises(KeyFileError, match=r"several brokers' keys \(a, b\)"):
        two.broker_key()
    with pytest.raises(KeyFileError, match=r"no file broker-c\.key"):
        two.broker_key("c")
    with pytest.raises(KeyFileError, match=r"no file broker-NAME\.key"):
        Directory([agent]).broker_key()


@pytest.mark.parametrize(
    ("patterns", "hport", "may"),
    [
        (("oslo/*",), "oslo/1", True),
        (("oslo/*",), "bergen/1", False),
        (("oslo/1", "oslo/2"), "oslo/2", True),
        (("oslo/1",), "oslo/10", False),
        (("OSLO/*",), "oslo/1", False),
        ((), "oslo/1", False),
    ],
)
def test_an_agent_speaks_for_the_ports_of_its_key(
    patterns: tuple[str, ...], hport: str, may: bool
) -> None:
    """Protocol §7."""
    right = Right(role="agent", name="a", key="", hports=patterns)

    assert right.may_speak_for(hport) is may


def test_an_agent_is_at_the_site_of_its_key_or_at_any_if_that_names_none() -> None:
    bound = Right(role="agent", name="a", key="", site="oslo")

    assert bound.may_be_at("oslo")
    assert not bound.may_be_at("bergen")
    assert Right(role="agent", name="a", key="").may_be_at("bergen")
