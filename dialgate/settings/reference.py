"""The reference page of the configuration, made from the structs and the words under their fields.

python -m dialgate.settings.reference > docs/configuration.md
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec.structs import FieldInfo

from dialgate.settings.accounts import LockoutSettings, PasswordSettings
from dialgate.settings.agent import AgentSettings, ServiceSettings
from dialgate.settings.authenticators import KINDS
from dialgate.settings.cluster import BrokerSettings, ClusterSettings
from dialgate.settings.conversion import describe, fields_of
from dialgate.settings.lines import BankSettings, LineOptions, PortSettings
from dialgate.settings.models import MODELS, ModelSettings
from dialgate.settings.policies import PolicySettings
from dialgate.settings.worker import WorkerSettings

__all__ = ["field_docs", "page"]

_TABLES: Final[tuple[tuple[str, type[msgspec.Struct]], ...]] = (
    ("[cluster]", ClusterSettings),
    ("[broker]", BrokerSettings),
    ("[worker]", WorkerSettings),
    ("[agent]", AgentSettings),
    ("[[agent.ports]]", PortSettings),
    ("[[agent.banks]]", BankSettings),
    ("[models.NAME]", ModelSettings),
    ("[services.NAME]", ServiceSettings),
    ("[[policies]]", PolicySettings),
    *((f'[authenticators.NAME] kind = "{kind}"', settings) for kind, settings in KINDS.items()),
    ("[lockout]", LockoutSettings),
    ("[passwords]", PasswordSettings),
)

_HEAD: Final = """\
# Configuration

<!-- Made by `python -m dialgate.settings.reference`; change the words in dialgate/settings. -->

One TOML file, by default `/etc/dialgate/dialgate.toml`. Each program reads what concerns it, so the
same file may serve a whole cluster, or each machine has its own. `dialgate check FILE` prints all
faults at once, each as `file:line: key: what: how to mend`; no program starts with one.

**Addresses.** Brokers listen on, and peers connect to, `tcp://HOST:PORT` (IPv6 as
`tcp://[::1]:7700`), or `ipc://PATH` on one machine. On TCP everything is CURVE, with the key files
below, unless `insecure = true`, which is allowed on loopback addresses only.

**Patterns** of sites and ports are matched as a shell matches file names, except that `*` also
matches a slash.

A key without a default is required.
"""

_KEY_FILES: Final = """\
## Key files

`dialgate keys init` makes the directory `cluster.keys`; `dialgate keys new ROLE NAME` makes the two
files of one process. Nothing is ever overwritten.

| File | Mode | Content | Needed by |
|---|---|---|---|
| `ROLE-NAME.secret` | 0600 | CURVE secret key, one line of Z85 (40 characters) | the process |
| `ROLE-NAME.key` | 0644 | public key and rights, TOML | those it speaks with |
| `pool.key` | 0600 | the workers' common secret: one line of base64, 32 bytes | workers |

A public file has the keys `role` ("broker", "agent", "worker"), `name`, `key` (Z85), and for agents
`site` (empty: any) and `hports` (patterns of the ports it may speak for). The brokers' copies
decide; edit them to change an agent's rights, delete one to revoke its key. A secret file that
others may read is refused.

A process with the public keys of several brokers says in each address which one it expects there:
`tcp://192.0.2.7:7700#broker-1`.
"""


def page() -> str:
    """Return the whole page as Markdown."""
    tables = "\n".join("\n".join(_table(title, kind)) for title, kind in _TABLES)
    return f"{_HEAD}\n{tables}\n{_models()}\n{_KEY_FILES}"


def _models() -> str:
    """Return the table of the models that are known."""
    rows = "\n".join(
        f"| `{name}` | {' '.join(f'`{command}`' for command in model.init)} "
        f"| {f'`{model.caller_id}`' if model.caller_id else 'none'} | {model.hangup} |"
        for name, model in MODELS.items()
    )
    head = "| Model | `init` | `caller_id` | `hangup` |\n|---|---|---|---|"
    return f"## Known models of modems\n\n{head}\n{rows}\n"


def field_docs(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the words under each field of `kind`, as one line each."""
    docs: dict[str, str] = {}
    for declared in reversed(kind.__mro__):
        if issubclass(declared, msgspec.Struct) and declared is not msgspec.Struct:
            docs |= _own_docs(declared)
    return {name: docs[name] for name in kind.__struct_fields__ if name in docs}


def _own_docs(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Return the words under the fields that `kind` itself declares."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    name = ""
    for node in definition.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str(text))) if name:
                docs[name] = " ".join(text.split())
                name = ""
            case _:
                name = ""
    return docs


def _table(title: str, kind: type[msgspec.Struct]) -> Iterator[str]:
    docs = field_docs(kind)
    yield f"## `{title}`\n\n{inspect.getdoc(kind)}\n"
    yield "| Key | Value | Default | Meaning |\n|---|---|---|---|"
    for name, (field, hint) in fields_of(kind).items():
        if kind is BankSettings and name in LineOptions.__struct_fields__:
            continue
        cells = (describe(hint), _default(field), docs[name])
        row = " | ".join(cell.replace("|", "\\|") for cell in cells)
        yield f"| `{name}` | {row} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.required:
        return "required"
    default = field.default
    if default is msgspec.NODEFAULT:
        default = field.default_factory()
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case dict() if not value:
            return "{}"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
