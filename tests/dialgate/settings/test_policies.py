"""`[[policies]]` as written: presets beneath its keys, and faults that several keys show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from dialgate.errors import ConfigError
from dialgate.settings import PolicySettings, inspect, load
from dialgate.settings.presets import PRESETS, SHARED
from tests.dialgate.sample import altered, write

PAGE: Final = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
ROLES: Final = '[[policies]]\nname = "admins"\nroles = ["admin"]\nauthenticators = ["local"]\n'


def policy_with(directory: Path, keys: str) -> PolicySettings:
    """Return the sample's policy with `keys` in place of its `tries`."""
    return load(write(directory, altered(("tries = 3", keys)))).policies[0]


@pytest.mark.parametrize(
    ("preset", "numbers"),
    [
        pytest.param("rfc2196", {"tries": 3, "retry_delay_s": 2.0}, id="RFC 2196"),
        pytest.param(
            "nist", {"tries": 3, "idle_timeout_s": 1800, "session_timeout_s": 43_200}, id="NIST"
        ),
        pytest.param("pci", {"tries": 3, "idle_timeout_s": 900}, id="PCI DSS"),
        pytest.param("nerc", {"tries": 3, "retry_delay_s": 2.0}, id="NERC CIP"),
    ],
)
def test_a_preset_sets_the_numbers_of_its_text(
    tmp_path: Path, preset: str, numbers: dict[str, Any]
) -> None:
    policy = policy_with(tmp_path, f'preset = "{preset}"')

    assert {name: getattr(policy, name) for name in numbers} == numbers
    assert PRESETS[preset] == numbers


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_policy_says_itself_wins_over_its_preset(tmp_path: Path, preset: str) -> None:
    policy = policy_with(
        tmp_path, f'preset = "{preset}"\ntries = 7\nidle_timeout_s = 77\nretry_delay_s = 0.5'
    )

    assert (policy.tries, policy.idle_timeout_s, policy.retry_delay_s) == (7, 77, 0.5)


@pytest.mark.parametrize(
    ("presets", "lockout", "passwords"),
    [
        pytest.param(["rfc2196"], (20, 60, 7_776_000), (8, 1), id="RFC 2196: none"),
        pytest.param(["nist"], (20, 60, 7_776_000), (8, 1), id="NIST: the defaults are stricter"),
        pytest.param(["pci"], (10, 1800, 0), (12, 4), id="PCI DSS"),
        pytest.param(["nerc"], (20, 60, 7_776_000), (8, 3), id="NERC CIP"),
        pytest.param(["nerc", "pci", "nist"], (10, 1800, 0), (12, 4), id="the strictest of all"),
    ],
)
def test_what_a_text_asks_of_every_user_comes_with_its_preset(
    tmp_path: Path,
    presets: list[str],
    lockout: tuple[int, int, int],
    passwords: tuple[int, int],
) -> None:
    policies = "".join(
        f'[[policies]]\npreset = "{preset}"\nauthenticators = ["local"]\n' for preset in presets
    )

    settings = load(write(tmp_path, altered(("[[policies]]", f"{policies}[[policies]]"))))

    found = settings.lockout
    assert (found.user_tries, found.wait_s, found.number_known_s) == lockout
    assert (settings.passwords.length_min, settings.passwords.classes_min) == passwords


def test_what_the_file_says_of_every_user_wins_over_a_preset_with_a_warning(
    tmp_path: Path,
) -> None:
    own = "\n[lockout]\nuser_tries = 50\n[passwords]\nlength_min = 14\nclasses_min = 2\n"
    text = altered(("tries = 3", 'preset = "pci"')) + own

    file = write(tmp_path, text)
    settings, (_, warnings) = load(file), inspect(file)

    assert (settings.lockout.user_tries, settings.lockout.wait_s) == (50, 1800)
    assert (settings.passwords.length_min, settings.passwords.classes_min) == (14, 2)
    said = [str(warning).partition(": ")[2] for warning in warnings]
    assert said[1:] == [
        (
            'lockout.user_tries: is 50, and a policy\'s preset "pci" asks for 10: '
            "remove the key, or the preset"
        ),
        (
            'passwords.classes_min: is 2, and a policy\'s preset "pci" asks for 4: '
            "remove the key, or the preset"
        ),
    ]


def test_an_unknown_preset_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'preset: is \'iso\': write "" or "rfc2196" or "nist"'):
        policy_with(tmp_path, 'preset = "iso"')


def test_every_number_of_every_preset_is_on_the_page() -> None:
    section = PAGE.partition("## Presets")[2].partition("\n## ")[0]
    pattern = r"^\| `(\w+)` \| `(?:\[(\w+)\] )?(\w+) = ([\d.]+)` \|"

    assert set(re.findall(pattern, section, re.MULTILINE)) == {
        (preset, table, key, f"{value:g}")
        for preset in PRESETS
        for table, keys in {"": PRESETS[preset], **SHARED.get(preset, {})}.items()
        for key, value in keys.items()
    }


def test_required_callers_are_patterns_and_no_number_fits_none() -> None:
    policy = PolicySettings(authenticators=("local",), required_callers=("+47*", "*"))

    assert not policy.requires_another_number("+4722")
    assert not policy.requires_another_number("5550100")
    assert policy.requires_another_number("")
    assert not PolicySettings(authenticators=("local",)).requires_another_number("")


# fmt: off
FAULTS = [
    ('hours = ["8-17"]', "39: policies[0].hours[0]: is '8-17': write hours as \"08:00-17:00\""),
    ('hours = ["08:00-24:01"]',
     "39: policies[0].hours[0]: is '08:00-24:01': write hours as \"08:00-17:00\""),
    ('hours = ["08:00-08:00"]',
     '39: policies[0].hours[0]: ends when it begins: write "00:00-24:00" for the whole day'),
    ('weekdays = ["monday"]',
     ("39: policies[0].weekdays[0]: is 'monday': "
     'write "mon" or "tue" or "wed" or "thu" or "fri" or "sat" or "sun"')),
    ('time_zone = "Europe/Olso"',
     '39: policies[0].time_zone: "Europe/Olso" is no time zone: write it as Europe/Oslo or UTC'),
    ('time_zone = "../../etc/passwd"',
     ('39: policies[0].time_zone: "../../etc/passwd" is no time zone: '
     "write it as Europe/Oslo or UTC")),
    ("break_glass = true",
     "39: policies[0].break_glass: is for no account: name them in users"),
    ('chain = "any"',
     "39: policies[0].chain: is 'any': write \"fallback\" or \"first\" or \"all\""),
    ('services = ["console", "shell"]',
     ('39: policies[0].services[1]: "shell" is not defined: '
     "add [services.shell]; there are: console")),
    ('role_services = { admin = ["shell"] }',
     ('39: policies[0].role_services.admin[0]: "shell" is not defined: '
     "add [services.shell]; there are: console")),
    ("role_services = { admin = [] }",
     ("39: policies[0].role_services.admin: is a list of 0: write a list of 1 to 16 "
     "texts, each 1 to 64 of A-Z a-z 0-9 . _ -")),
    ('service = "console"\nservices = ["console"]',
     "39: policies[0].service: stands beside a choice of services: move it there"),
]

WARNINGS = [
    ("tries = 3\n[authenticators.local]", f"tries = 3\n{ROLES}[authenticators.local]",
     "40: policies[1]: never decides: policies[0] matches every call: move it up, or remove it"),
    ("tries = 3", 'preset = "pci"',
     ('39: policies[0].preset: "pci" asks for a second factor (PCI DSS 8.4.3), and the chain has '
     'one: add one and chain = "all", unless the authenticator asks for both')),
]
# fmt: on


@pytest.mark.parametrize(("keys", "line"), FAULTS)
def test_each_fault_has_its_line_and_its_remedy(tmp_path: Path, keys: str, line: str) -> None:
    file = write(tmp_path, altered(("tries = 3", keys)))

    with pytest.raises(ConfigError) as caught:
        load(file)

    assert [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults] == [line]


@pytest.mark.parametrize(("old", "new", "line"), WARNINGS)
def test_what_is_doubtful_is_a_warning(tmp_path: Path, old: str, new: str, line: str) -> None:
    file = write(tmp_path, altered((old, new)))

    _, warnings = inspect(file)

    assert [str(warning).removeprefix(f"{file}:") for warning in warnings] == [line]


def test_two_factors_are_enough_for_every_preset(tmp_path: Path) -> None:
    text = altered(
        ('authenticators = ["local"]', 'authenticators = ["local", "code"]'),
        ("tries = 3", 'preset = "nist"\nchain = "all"'),
        ("[authenticators.local]", '[authenticators.code]\nkind = "local"\n[authenticators.local]'),
    )

    assert inspect(write(tmp_path, text))[1] == []
