"""RECORD's body: what is written is read, and what is too long goes without what is least."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from dialgate.codes import Code
from dialgate.errors import BodyError
from dialgate.wire.envelope import decode_frame
from dialgate.wire.limits import BODY_BYTES_MAX
from dialgate.wire.record import (
    STEPS_MAX,
    CallFacts,
    CallRecord,
    DialogFacts,
    Step,
    decode_record,
    encode_record,
)

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
RECORD = CallRecord(
    record=b"r" * 16,
    call=b"c" * 16,
    kind="stop",
    made_at=1000.5,
    facts=CallFacts(
        site="oslo",
        agent="oslo-1",
        hport="oslo/1",
        caller="+4722334455",
        rang_at=990.0,
        dialogs=(
            DialogFacts(
                dialog="00",
                attempts=2,
                answers=4,
                tries=2,
                verdict="error",
                user="ann",
                code=Code("ras", 645),
                attributes={"class": "a", "tries": 2},
            ),
        ),
        steps=(Step(at=990.0, what="rang"),),
        code=Code("win", 1460),
    ),
)


def body_of(record: CallRecord) -> bytes:
    [message], fault = decode_frame(encode_record(record))
    assert not fault
    return message[3]


def test_what_is_written_is_read() -> None:
    assert decode_record(body_of(RECORD), "oslo-1") == RECORD


def test_a_record_that_is_too_long_goes_without_steps_and_attributes() -> None:
    dialog = msgspec.structs.replace(
        RECORD.facts.dialogs[0], attributes={f"a{n}": "x" * 250 for n in range(60)}
    )
    steps = (Step(at=1.0, what="asked", detail="y" * 100),) * STEPS_MAX
    facts = msgspec.structs.replace(RECORD.facts, dialogs=(dialog,), steps=steps)

    body = body_of(msgspec.structs.replace(RECORD, facts=facts))

    assert len(body) < BODY_BYTES_MAX
    bare = msgspec.structs.replace(dialog, attributes={})
    assert decode_record(body, "oslo-1").facts == msgspec.structs.replace(
        facts, dialogs=(bare,), steps=()
    )


def test_an_error_names_the_place_and_no_value() -> None:
    body = body_of(RECORD).replace(b"\xa4kind\xa4stop", b"\xa4kind\xa4duck")

    with pytest.raises(BodyError) as caught:
        decode_record(body, "oslo-1")

    assert "kind" in str(caught.value)
    assert "duck" not in str(caught.value)


def test_the_page_names_every_field() -> None:
    section = PAGE[PAGE.index("**RECORD**") :]
    named = set(re.findall(r"`(\w+)`", section))
    fields = {
        field
        for struct in (CallRecord, CallFacts, DialogFacts, Step)
        for field in struct.__struct_fields__
    }

    assert fields - named == {"agent", "facts"}
