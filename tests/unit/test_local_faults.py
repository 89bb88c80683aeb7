"""Descriptions of faults, and when they fire."""

from typing import Any

import pytest

from runtime.local.faults import BadFault, Fault, Faults, Kind, When, parse_fault

SERVICES = {"sqs": frozenset({"ReceiveMessage", "SendMessage", "DeleteMessage", "DeleteMessageBatch", "SendMessageBatch"})}


def parsed(**given: Any) -> Fault:
    return parse_fault(given, services=SERVICES)


def fire(faults: Faults, operation: str = "ReceiveMessage", queue: str = "q", when: When = When.BEFORE) -> list[Kind]:
    return [fault.fault for fault in faults.fire(when, service="sqs", operation=operation, queue=queue)]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], "JSON object"),
        ({}, "fault None"),
        ({"fault": "flood"}, "fault 'flood' is not one of throttle"),
        ({"fault": 1}, "fault 1"),
        ({"fault": "drop", "colour": "red"}, "unknown field 'colour'"),
        ({"fault": "drop", "id": "mine"}, "unknown field 'id'"),
        ({"fault": "drop", "service": "s3"}, "service 's3'"),
        ({"fault": "drop", "operation": "Fly"}, "operation 'Fly'"),
        ({"fault": "duplicate", "operation": "SendMessage"}, "operation 'SendMessage'"),
        ({"fault": "drop", "queue": ""}, "queue ''"),
        ({"fault": "drop", "times": 0}, "times 0"),
        ({"fault": "drop", "times": True}, "times True"),
        ({"fault": "drop", "probability": 1.5}, "probability 1.5"),
        ({"fault": "drop", "probability": "half"}, "probability 'half'"),
        ({"fault": "slow"}, "seconds must be given"),
        ({"fault": "slow", "seconds": -1}, "seconds -1"),
        ({"fault": "slow", "seconds": 4000}, "seconds 4000"),
        ({"fault": "delayed_delete"}, "seconds must be given"),
        ({"fault": "drop", "seconds": 1}, "seconds has no meaning for drop"),
        ({"fault": "drop", "code": "X"}, "code has no meaning for drop"),
        ({"fault": "drop", "when": "later"}, "when 'later'"),
        ({"fault": "truncate", "when": "before"}, "when must be after"),
        ({"fault": "duplicate", "when": "after"}, "when has no meaning for duplicate"),
    ],
)
def test_a_bad_description_says_what_is_wrong(given: object, names: str) -> None:
    with pytest.raises(BadFault) as bad:
        parse_fault(given, services=SERVICES)
    assert names in str(bad.value)


def test_a_fault_fires_as_often_as_it_may_and_counts() -> None:
    faults = Faults(seed=0)
    fault = faults.add(parsed(fault="throttle", times=2))
    assert [fire(faults) for _ in range(3)] == [[Kind.THROTTLE], [Kind.THROTTLE], []]
    assert (fault.id, fault.fired) == ("fault-1", 2)


def test_a_fault_fires_only_for_its_operation_queue_and_moment() -> None:
    faults = Faults(seed=0)
    faults.add(parsed(fault="drop", operation="ReceiveMessage", queue="q", when="after"))
    assert fire(faults, operation="SendMessage", when=When.AFTER) == []
    assert fire(faults, queue="other", when=When.AFTER) == []
    assert fire(faults) == []
    assert fire(faults, when=When.AFTER) == [Kind.DROP]


def test_slowness_adds_up_and_the_first_other_fault_ends_the_request() -> None:
    faults = Faults(seed=0)
    for kind in ("slow", "throttle", "drop"):
        faults.add(parsed(fault=kind, **({"seconds": 1} if kind == "slow" else {})))
    assert fire(faults) == [Kind.SLOW, Kind.THROTTLE]
    assert [fault.fired for fault in faults.every()] == [1, 1, 0]


def test_probability_is_decided_by_the_seed() -> None:
    def story(seed: int) -> list[bool]:
        faults = Faults(seed=seed)
        faults.add(parsed(fault="drop", probability=0.3))
        return [bool(fire(faults)) for _ in range(200)]

    assert story(1) == story(1)
    assert story(1) != story(2)
    assert 30 <= sum(story(1)) <= 90


def test_faults_inside_an_operation_are_asked_for_there() -> None:
    faults = Faults(seed=0)
    faults.add(parsed(fault="delayed_delete", seconds=3, times=1))
    faults.add(parsed(fault="duplicate", queue="q"))
    faults.add(parsed(fault="refuse_entry", operation="SendMessageBatch", code="Busy"))
    assert fire(faults) == []
    assert (faults.delete_delay("DeleteMessage", "q"), faults.delete_delay("DeleteMessage", "q")) == (3.0, 0.0)
    assert faults.duplicates("ReceiveMessage", "q")
    assert not faults.duplicates("ReceiveMessage", "other")
    assert faults.refused_entry("DeleteMessageBatch", "q") is None
    assert (faults.refused_entry("SendMessageBatch", "q") or {})["Code"] == "Busy"


def test_a_removed_fault_is_gone() -> None:
    faults = Faults(seed=0)
    fault = faults.add(parsed(fault="drop"))
    assert faults.remove(fault.id)
    assert not faults.remove(fault.id)
    assert fire(faults) == []
