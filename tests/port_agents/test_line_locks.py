"""Lock files of other programs are respected, stale ones removed, and only our own released."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from port_agents.device import PortError
from port_agents.line_locks import LineLocks


@pytest.fixture
def other() -> Iterator[int]:
    """Give the number of a living process."""
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        # The kernel lets a parent go on before it has given the child its new name.
        while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
            assert process.poll() is None
        yield process.pid
        process.kill()


def gone() -> int:
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    return process.pid


def test_a_lock_is_the_holders_number_in_ten_characters(tmp_path: Path) -> None:
    LineLocks(str(tmp_path)).take("/dev/ttyS0")

    assert (tmp_path / "LCK..ttyS0").read_text() == f"{os.getpid():10d}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["LCK..ttyS0"]


def test_everybody_may_read_a_lock_whatever_the_umask(tmp_path: Path) -> None:
    """Under systemd the agent's umask is 0027; who can't read whose a lock is gives up at it."""
    before = os.umask(0o027)
    try:
        LineLocks(str(tmp_path)).take("/dev/ttyS0")
    finally:
        os.umask(before)

    assert (tmp_path / "LCK..ttyS0").stat().st_mode & 0o777 == 0o644


def test_a_living_holder_is_named_and_keeps_the_line(tmp_path: Path, other: int) -> None:
    lock = tmp_path / "LCK..ttyS0"
    lock.write_text(f"{other:10d}\n")
    locks = LineLocks(str(tmp_path))

    assert locks.holder("/dev/ttyS0") == f"sleep (process {other})"
    with pytest.raises(PortError, match=rf"/dev/ttyS0: in use by sleep \(process {other}\), says"):
        locks.take("/dev/ttyS0")
    locks.release("/dev/ttyS0")
    assert lock.exists()


def test_a_stale_lock_that_is_not_ours_to_remove_keeps_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a sticky directory, when the agent was root once."""
    lock = tmp_path / "LCK..ttyS0"
    lock.write_text(f"{gone():10d}\n")
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path == lock:
            raise PermissionError
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    locks = LineLocks(str(tmp_path))

    assert locks.holder("/dev/ttyS0") == ""
    locks.take("/dev/ttyS0")
    locks.release("/dev/ttyS0")


@pytest.mark.parametrize("binary", [False, True])
def test_a_lock_whose_process_is_gone_is_removed(tmp_path: Path, binary: bool) -> None:
    lock, number = tmp_path / "LCK..ttyS0", gone()
    lock.write_bytes(number.to_bytes(4, "little") if binary else b"%10d\n" % number)

    LineLocks(str(tmp_path)).take("/dev/ttyS0")

    assert int(lock.read_text()) == os.getpid()


def test_a_lock_that_names_nobody_is_respected_for_a_minute(tmp_path: Path) -> None:
    lock, locks = tmp_path / "LCK..ttyS0", LineLocks(str(tmp_path))
    lock.touch()
    with pytest.raises(PortError, match="says not which"):
        locks.take("/dev/ttyS0")

    os.utime(lock, (time.time() - 61,) * 2)
    locks.take("/dev/ttyS0")
    assert int(lock.read_text()) == os.getpid()


def test_ones_own_lock_is_taken_again_and_released(tmp_path: Path) -> None:
    locks = LineLocks(str(tmp_path))
    locks.take("/dev/ttyS0")
    locks.take("/dev/ttyS0")
    assert not locks.holder("/dev/ttyS0")

    locks.release("/dev/ttyS0")
    assert list(tmp_path.iterdir()) == []


def test_a_name_by_id_is_locked_as_the_device_that_it_leads_to(tmp_path: Path) -> None:
    device, name = tmp_path / "ttyUSB7", tmp_path / "usb-modem-if00"
    device.touch()
    name.symlink_to(device)
    locks = LineLocks("/var/lock")

    assert locks.path_of(str(name)) == locks.path_of(str(device))


def test_a_directory_that_cannot_be_written_is_no_reason_to_serve_nobody(tmp_path: Path) -> None:
    LineLocks(str(tmp_path / "nowhere")).take("/dev/ttyS0")
