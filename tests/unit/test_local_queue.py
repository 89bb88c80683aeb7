"""The standard queue of the embedded endpoint, in virtual time. The truth is AWS's documentation and public recordings of AWS."""

from random import Random
from typing import Any
from uuid import UUID

import pytest

from runtime.local.errors import Refused
from runtime.local.messages import draft
from runtime.local.queues import Delivery, Queue
from runtime.local.settings import Redrive, Settings

START = 1_800_000_000.0


def queue(*, name: str = "q", seed: int = 0, most_in_flight: int = 120_000, **settings: Any) -> Queue:
    return Queue(
        name=name,
        account="123456789012",
        region="eu-west-1",
        settings=Settings(**settings),
        now=START,
        rng=Random(seed),  # noqa: S311 - ids, not secrets
        most_in_flight=most_in_flight,
    )


def send(to: Queue, *bodies: str, now: float = START, delay: int | None = None) -> None:
    for body in bodies:
        to.send(draft({"MessageBody": body, "DelaySeconds": delay}), sender="123456789012", now=now)


def receive(
    of: Queue, now: float, *, limit: int = 10, visibility: int | None = None, dead_letter: Queue | None = None
) -> list[Delivery]:
    return of.receive(limit=limit, visibility=visibility, now=now, dead_letter=dead_letter)


def bodies(deliveries: list[Delivery]) -> list[str]:
    return [delivery.message.draft.body for delivery in deliveries]


def refusal(refused: pytest.ExceptionInfo[Refused]) -> tuple[str, str]:
    return refused.value.code, refused.value.message


def counts(of: Queue, now: float) -> tuple[int, int, int]:
    of.advance(now)
    return of.visible, of.in_flight, of.delayed


def test_a_received_message_is_hidden_for_exactly_its_visibility_timeout() -> None:
    q = queue(visibility=2)
    send(q, "a")
    assert bodies(receive(q, START + 0.25)) == ["a"]
    assert receive(q, START + 2.249) == []
    assert bodies(receive(q, START + 2.25)) == ["a"]


def test_the_visibility_of_a_receive_overrides_that_of_the_queue_for_this_receive_only() -> None:
    q = queue(visibility=30)
    send(q, "a")
    assert bodies(receive(q, START, visibility=1)) == ["a"]
    assert bodies(receive(q, START + 1)) == ["a"]
    assert receive(q, START + 30) == []
    assert bodies(receive(q, START + 31)) == ["a"]


def test_a_visibility_of_zero_gives_the_message_to_the_next_receive_but_not_twice_to_one() -> None:
    q = queue()
    send(q, "a", "b")
    assert bodies(receive(q, START, visibility=0)) == ["a", "b"]
    assert bodies(receive(q, START, visibility=0)) == ["a", "b"]


def test_each_receive_gives_a_new_handle_and_counts() -> None:
    q = queue(visibility=1)
    send(q, "a")
    first, second = receive(q, START)[0], receive(q, START + 1)[0]
    assert first.handle != second.handle
    assert second.message.receives == 2
    assert (second.message.first_received, second.message.received) == (START, START + 1)


def test_a_deleted_message_is_gone_and_a_second_delete_succeeds() -> None:
    q = queue(visibility=1)
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.delete(handle, now=START)
    q.delete(handle, now=START)
    assert (len(q), receive(q, START + 5)) == (0, [])


def test_a_handle_still_deletes_after_its_timeout_as_long_as_nobody_received_again() -> None:
    q = queue(visibility=1)
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.delete(handle, now=START + 10)
    assert len(q) == 0


def test_an_old_handle_of_a_message_received_again_succeeds_without_deleting() -> None:
    q = queue(visibility=1)
    send(q, "a")
    old = receive(q, START)[0].handle
    new = receive(q, START + 1)[0].handle
    q.delete(old, now=START + 1)
    assert len(q) == 1
    q.delete(new, now=START + 1)
    assert len(q) == 0


@pytest.mark.parametrize("handle", ["garbage", "", "AAAA", "ä", "A" * 48])
def test_a_handle_that_was_never_given_out_is_refused(handle: str) -> None:
    with pytest.raises(Refused) as refused:
        queue().delete(handle, now=START)
    assert refusal(refused) == ("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')


def test_a_handle_of_another_queue_is_refused() -> None:
    one, other = queue(seed=1), queue(seed=2)
    send(one, "a")
    with pytest.raises(Refused, match="not a valid receipt handle"):
        other.delete(receive(one, START)[0].handle, now=START)


def test_changing_visibility_counts_from_the_call_and_not_from_the_receive() -> None:
    q = queue(visibility=10)
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.change_visibility(handle, 10, now=START + 9.5)
    assert receive(q, START + 19) == []
    q.change_visibility(handle, 1, now=START + 19)
    assert bodies(receive(q, START + 20)) == ["a"]


def test_changing_visibility_to_zero_shows_the_message_at_once_and_a_second_change_is_refused() -> None:
    q = queue()
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.change_visibility(handle, 0, now=START)
    assert counts(q, START) == (1, 0, 0)
    with pytest.raises(Refused) as refused:
        q.change_visibility(handle, 5, now=START)
    assert refused.value.code == "AWS.SimpleQueueService.MessageNotInflight"


def test_changing_visibility_after_the_timeout_is_refused_and_hides_nothing() -> None:
    q = queue(visibility=1)
    send(q, "a")
    handle = receive(q, START)[0].handle
    with pytest.raises(Refused) as refused:
        q.change_visibility(handle, 5, now=START + 1)
    assert refused.value.code == "AWS.SimpleQueueService.MessageNotInflight"
    assert bodies(receive(q, START + 1)) == ["a"]


def test_changing_visibility_of_a_deleted_message_is_an_invalid_parameter() -> None:
    q = queue()
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.delete(handle, now=START)
    with pytest.raises(Refused) as refused:
        q.change_visibility(handle, 5, now=START)
    code, message = refusal(refused)
    assert code == "InvalidParameterValue"
    assert message.endswith("Message does not exist or is not available for visibility timeout change.")


def test_a_message_cannot_stay_hidden_for_more_than_twelve_hours_in_all() -> None:
    q = queue(visibility=30)
    send(q, "a")
    handle = receive(q, START)[0].handle
    q.change_visibility(handle, 43_199, now=START + 1)
    with pytest.raises(Refused) as refused:
        q.change_visibility(handle, 43_200, now=START + 1)
    assert refusal(refused)[0] == "InvalidParameterValue"
    assert "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]" in refused.value.message


def test_delays_of_the_queue_and_of_the_message() -> None:
    q = queue(delay=5)
    send(q, "queue's")
    send(q, "own", delay=1)
    send(q, "none", delay=0)
    assert counts(q, START) == (1, 0, 2)
    assert bodies(receive(q, START + 0.5)) == ["none"]
    assert bodies(receive(q, START + 1)) == ["own"]
    assert receive(q, START + 4.9) == []
    assert bodies(receive(q, START + 5)) == ["queue's"]


def test_messages_expire_with_the_retention_period_in_flight_and_delayed_too() -> None:
    q = queue(retention=60, visibility=300)
    send(q, "in flight", "ready")
    send(q, "delayed", delay=300)
    receive(q, START + 59, limit=1)
    assert counts(q, START + 59.9) == (1, 1, 1)
    assert counts(q, START + 60) == (0, 0, 0)
    assert receive(q, START + 1000) == []


def test_a_shorter_retention_takes_effect_on_what_is_there() -> None:
    q = queue()
    send(q, "a")
    q.settings = Settings(retention=60)
    assert counts(q, START + 61) == (0, 0, 0)


def test_redrive_moves_a_message_at_the_receive_after_the_last_one_allowed() -> None:
    dead = queue(name="dead", seed=1)
    q = queue(visibility=1, redrive=Redrive(dead.arn, 2))
    send(q, "a")
    message_id = receive(q, START, dead_letter=dead)[0].message.id
    assert bodies(receive(q, START + 1, dead_letter=dead)) == ["a"]
    assert (len(q), len(dead)) == (1, 0)
    assert receive(q, START + 2, dead_letter=dead) == []
    (moved,) = receive(dead, START + 2)
    assert (len(q), moved.message.id) == (0, message_id)  # SQS-28
    assert (moved.message.receives, moved.message.sent, moved.message.source_arn) == (3, START, q.arn)


def test_a_redriven_message_keeps_its_age() -> None:
    dead = queue(name="dead", retention=100)
    q = queue(visibility=0, redrive=Redrive(dead.arn, 1))
    send(q, "a")
    receive(q, START + 90, dead_letter=dead)
    receive(q, START + 90, dead_letter=dead)
    assert counts(dead, START + 99) == (1, 0, 0)
    assert counts(dead, START + 100) == (0, 0, 0)


def test_a_message_that_moved_twice_counts_its_receives_anew_in_each_queue() -> None:
    second = queue(name="second", seed=1)
    third = queue(name="third", seed=2)
    second.settings = Settings(visibility=0, redrive=Redrive(third.arn, 1))
    first = queue(visibility=0, redrive=Redrive(second.arn, 1))
    send(first, "a")
    receive(first, START, dead_letter=second)
    receive(first, START, dead_letter=second)
    assert bodies(receive(second, START, dead_letter=third)) == ["a"]
    assert receive(second, START, dead_letter=third) == []
    assert bodies(receive(third, START)) == ["a"]


def test_without_its_dead_letter_queue_a_worn_message_stays() -> None:
    q = queue(visibility=0, redrive=Redrive("arn:aws:sqs:eu-west-1:123456789012:gone", 1))
    send(q, "a")
    assert [bodies(receive(q, START)) for _ in range(3)] == [["a"]] * 3


def test_too_many_messages_in_flight_are_refused() -> None:
    q = queue(most_in_flight=3)
    send(q, *"abcde")
    assert len(receive(q, START)) == 3
    with pytest.raises(Refused) as refused:
        receive(q, START)
    assert (refused.value.code, refused.value.status) == ("OverLimit", 403)


def test_a_purge_empties_everything_and_cannot_be_repeated_within_a_minute() -> None:
    q = queue()
    send(q, "a", "b")
    send(q, "c", delay=10)
    handle = receive(q, START, limit=1)[0].handle
    q.purge(START)
    assert counts(q, START + 100) == (0, 0, 0)
    q.delete(handle, now=START)
    with pytest.raises(Refused) as refused:
        q.purge(START + 59)
    assert (refused.value.code, refused.value.status) == ("AWS.SimpleQueueService.PurgeQueueInProgress", 403)
    q.purge(START + 60)


def test_a_late_delete_answers_success_and_takes_effect_later() -> None:
    q = queue(visibility=1)
    send(q, "a")
    q.delete(receive(q, START)[0].handle, now=START, delay=5)
    assert bodies(receive(q, START + 2)) == ["a"]
    assert q.next_change() == START + 3
    assert counts(q, START + 4.9) == (1, 0, 0)
    assert counts(q, START + 5) == (0, 0, 0)


def test_a_duplicate_is_handed_out_while_in_flight_and_either_handle_deletes() -> None:
    for used in (0, 1):
        q = queue()
        send(q, "a")
        first = receive(q, START)
        q.hand_out_again(delivery.message for delivery in first)
        second = receive(q, START)
        assert bodies(second) == ["a"]
        assert counts(q, START) == (0, 1, 0)
        assert receive(q, START) == []
        q.delete((first, second)[used][0].handle, now=START)
        assert len(q) == 0


def test_the_next_change_is_the_earliest_timer_that_still_counts() -> None:
    q = queue(visibility=10)
    send(q, "a", "b")
    handle = receive(q, START, limit=1)[0].handle
    receive(q, START + 1, limit=1)
    assert q.next_change() == START + 10
    q.delete(handle, now=START + 2)
    assert q.next_change() == START + 11


def test_equal_seeds_give_equal_ids_and_handles() -> None:
    def story(seed: int) -> list[tuple[str, str]]:
        q = queue(seed=seed)
        send(q, *"abc")
        return [(delivery.message.id, delivery.handle) for delivery in receive(q, START)]

    assert story(7) == story(7)
    assert story(7) != story(8)
    assert UUID(story(7)[0][0]).version == 4


def test_void_timers_do_not_pile_up() -> None:
    q = queue(visibility=43_200)
    for round_ in range(1000):
        send(q, "a", now=START + round_)
        q.delete(receive(q, START + round_)[0].handle, now=START + round_)
    assert len(q._timers._heap) < 100
    assert len(q._expiry._heap) < 100


def test_a_deep_queue_costs_no_more_per_receive() -> None:
    """Counted, not timed: picking ten of 100,000 looks at ten."""
    q = queue()
    checked = draft({"MessageBody": "x"})
    for _ in range(100_000):
        q.send(checked, sender="1", now=START)
    before = len(q._order._ready)  # type: ignore[attr-defined] # a standard queue's order, looked into
    assert len(receive(q, START)) == 10
    assert before - len(q._order._ready) == 10  # type: ignore[attr-defined] # as above
