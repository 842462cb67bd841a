"""Back-pressure between a line and its service."""

from __future__ import annotations

from port_agents.flow import HOLD_BYTES, Flow


class Side:
    """A line and a service in one: what waits for it is set, what is asked of it noted."""

    def __init__(self) -> None:
        self.unwritten = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.asked: list[str] = []

    def write(self, data: bytes) -> bool:
        return True

    def pause_reading(self) -> None:
        self.asked.append("hold")

    pause_output = pause_reading

    def resume_reading(self) -> None:
        self.asked.append("release")

    resume_output = resume_reading

    async def stop(self, grace_s: float) -> bool:
        return True


def balanced(*, knows_carrier: bool = True) -> tuple[Side, Side, Flow]:
    line, service = Side(), Side()
    return line, service, Flow(line, service, knows_carrier=knows_carrier)


def test_a_service_is_held_up_from_the_mark_on_until_the_line_has_taken_all() -> None:
    line, service, flow = balanced()

    for line.unwritten in (0, HOLD_BYTES, HOLD_BYTES + 1, HOLD_BYTES * 2, 1, 0, 0):
        flow.adjust()
        service.asked.append(str(line.unwritten))

    assert service.asked == [
        *("0", "16384"),
        *("hold", "16385", "32768", "1"),
        *("release", "0", "0"),
    ]
    assert line.asked == []


def test_a_line_is_held_up_from_the_mark_on_until_the_service_has_taken_all() -> None:
    line, service, flow = balanced()

    for service.unwritten in (HOLD_BYTES, HOLD_BYTES + 1, 1, 0):
        flow.adjust()
        line.asked.append(str(service.unwritten))

    assert line.asked == ["16384", "hold", "16385", "1", "release", "0"]
    assert service.asked == []


def test_a_line_that_tells_of_its_carrier_in_text_alone_is_never_held_up() -> None:
    line, service, flow = balanced(knows_carrier=False)

    service.unwritten = HOLD_BYTES * 3
    flow.adjust()

    assert line.asked == []


def test_a_line_is_released_when_its_service_is_over() -> None:
    line, service, flow = balanced()
    service.unwritten = HOLD_BYTES + 1
    flow.adjust()

    flow.end()
    flow.end()

    assert line.asked == ["hold", "release"]
