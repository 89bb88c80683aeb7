"""What a mapping says of itself, and the arrows between its states (API-50)."""

import pytest

from runtime.core.mapping import TRANSITIONS, BatchLimits, EventSourceMapping, MappingState


def mapping(queue: str = "orders") -> EventSourceMapping:
    return EventSourceMapping(
        name="m",
        function="f",
        function_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
        source="sqs",
        source_arn=f"arn:aws:sqs:eu-west-1:123456789012:{queue}",
        batch=BatchLimits(records=10),
    )


@pytest.mark.parametrize(
    ("queue", "fifo"), [("orders", False), ("orders.fifo", True), ("fifo", False), ("orders.fifo.old", False)]
)
def test_a_fifo_queue_is_known_by_its_name(queue: str, fifo: bool) -> None:
    assert mapping(queue).fifo is fifo


def test_sqs_29_the_region_is_that_of_the_source() -> None:
    assert mapping().region == "eu-west-1"


def test_every_state_has_its_arrows_and_ends_in_disabled() -> None:
    assert set(TRANSITIONS) == set(MappingState)
    assert TRANSITIONS[MappingState.DISABLED] == frozenset()
    reached = {MappingState.CREATING}
    for _ in MappingState:
        reached |= {target for state in reached for target in TRANSITIONS[state]}
    assert reached == set(MappingState)
    assert all(MappingState.DISABLING in TRANSITIONS[state] for state in (MappingState.CREATING, MappingState.ENABLED))
