"""`dialgate users otp`: what an operator sees, and that nothing of it is shown twice."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from dialgate.cli import main
from dialgate.one_time_codes import use_code
from dialgate.pool import pool_key
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.settings import load
from dialgate.state import open_state
from tests.dialgate.sample import altered, write


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return a configuration whose state is empty and whose pool has no key file."""
    return str(
        write(
            tmp_path,
            altered(
                ("/var/lib/dialgate/state.db", f"{tmp_path}/state.db"),
            ),
        )
    )


def gets_in(config: str, user: str, code: str) -> bool:
    async def use() -> bool:
        cluster = load(config).cluster
        state = await open_state(cluster.state)
        sealer = Sealer(await pool_key(cluster, state), purpose=ONE_TIME_CODES)
        try:
            return await use_code(state, sealer, user, code)
        finally:
            await state.dispose()

    return asyncio.run(use())


def otp(config: str, *options: str) -> int:
    return main(["users", "otp", "ann", *options, "--config", config])


def recovery_codes(text: str) -> list[str]:
    return re.findall(r"^  (\S{4}-\S{4}-\S{4})$", text, flags=re.MULTILINE)


def test_a_token_is_shown_as_uri_and_qr_code_with_recovery_codes(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert otp(config) == 0
    out = capsys.readouterr().out
    address = out.splitlines()[0]
    fields = parse_qs(urlsplit(address).query)

    assert address.startswith("otpauth://totp/north:ann?")
    assert "\u2588\u2580" in out
    codes = recovery_codes(out)
    assert len(codes) == 10
    assert gets_in(config, "ann", pyotp.TOTP(fields["secret"][0]).at(time.time()))
    assert gets_in(config, "ann", codes[3])


def test_a_token_is_not_replaced_by_mistake(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    otp(config)
    codes = recovery_codes(capsys.readouterr().out)

    assert otp(config) == 1
    captured = capsys.readouterr()
    assert "--replace" in captured.err
    assert captured.out == ""

    assert otp(config, "--replace") == 0
    assert not gets_in(config, "ann", codes[0])


def test_new_recovery_codes_and_removal(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    otp(config)
    capsys.readouterr()

    assert otp(config, "--recovery-codes") == 0
    out = capsys.readouterr().out
    assert "otpauth" not in out
    (first, *_) = recovery_codes(out)
    assert gets_in(config, "ann", first)

    assert otp(config, "--remove") == 0
    assert otp(config, "--remove") == 1
    assert otp(config, "--recovery-codes") == 1


def test_a_token_with_a_secret_of_its_own_is_entered(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = "JBSW Y3DP EHPK 3PXP JBSW Y3DP"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{seed}\n"))

    assert otp(config, "--hotp", "--digits", "8", "--seed") == 0

    assert seed not in capsys.readouterr().out
    assert gets_in(config, "ann", pyotp.HOTP(seed.replace(" ", ""), digits=8).at(0))


def test_an_unfit_seed_is_one_line(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("0189\n"))

    assert otp(config, "--seed") == 2
    assert capsys.readouterr().err.startswith("dialgate: the seed is no base32")


def test_a_terminal_that_has_no_blocks_gets_no_picture(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="latin-1"))

    assert otp(config) == 0
    assert len(recovery_codes(screen.getvalue().decode("latin-1"))) == 10


def test_a_name_that_no_local_user_has_gets_a_token_and_the_operator_is_told(
    config: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert otp(config) == 0
    assert "'ann' is no local user" in capsys.readouterr().err

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"battery staple\n")))
    assert main(["users", "add", "ann", "--config", config]) == 0
    assert otp(config, "--replace") == 0
    assert capsys.readouterr().err == ""
