"""SendMessage and SendMessageBatch."""

from hashlib import sha256
from typing import Final

from runtime.local.call import Answer, Call, Request, batch_entries, run_batch
from runtime.local.errors import Refused, invalid, invalid_value, missing
from runtime.local.messages import Draft, attributes_digest, digest, draft, size_of
from runtime.local.queues import Queue, Sent

_LARGEST_REQUEST: Final = 1_048_576
"""Bytes of all messages of a batch."""


def send_message(call: Call) -> Answer:
    queue = call.queue()
    checked = draft(call.request)
    if checked.size > queue.settings.max_size:
        raise invalid(
            f"One or more parameters are invalid. Reason: Message must be shorter than {queue.settings.max_size} bytes."
        )
    if queue.settings.fifo and checked.group is None:
        raise missing("MessageGroupId")
    return _send(call, queue, checked)


def send_message_batch(call: Call) -> Answer:
    """Too long as a whole, or missing what FIFO needs: the request fails. Wrong in one entry: the entry fails (recorded)."""
    queue = call.queue()
    entries = batch_entries(call, "SendMessageBatchRequestEntry")
    drafts = {entry["Id"]: _try_draft(entry) for entry in entries}
    total = sum(_size(drafts[entry["Id"]], entry) for entry in entries)
    if total > _LARGEST_REQUEST:
        message = f"Batch requests cannot be longer than {_LARGEST_REQUEST} bytes. You have sent {total} bytes."
        raise Refused("BatchRequestTooLong", message)
    if queue.settings.fifo:
        if any(entry.get("MessageGroupId") is None for entry in entries):
            raise invalid("The request must contain the parameter MessageGroupId.")
        if not queue.settings.content_dedup and any(entry.get("MessageDeduplicationId") is None for entry in entries):
            raise _no_dedup()

    def one(entry: Request) -> Answer:
        checked = drafts[entry["Id"]]
        if isinstance(checked, Refused):
            raise checked
        if checked.size > queue.settings.max_size:
            reason = f"Message must be shorter than {queue.settings.max_size} bytes."
            raise invalid(f"One or more parameters cannot be validated. Reason: {reason}")
        return _send(call, queue, checked)

    return run_batch(call, queue, entries, one)


def _send(call: Call, queue: Queue, checked: Draft) -> Answer:
    dedup = _dedup_id(queue, checked)
    if queue.settings.fifo and checked.delay:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid_value(checked.delay, "DelaySeconds", reason)
    if not queue.settings.fifo and checked.dedup is not None:
        reason = "The request include parameter that is not valid for this queue type."
        raise invalid_value(checked.dedup, "MessageDeduplicationId", reason)
    sent: Sent = queue.send(checked, sender=call.caller.account, now=call.state.clock(), dedup=dedup)
    call.state.stirred.add(queue)
    answer: Answer = {"MessageId": sent.id, "MD5OfMessageBody": digest(checked.body.encode())}
    if checked.attributes:
        answer["MD5OfMessageAttributes"] = attributes_digest(checked.attributes)
    if checked.system:
        answer["MD5OfMessageSystemAttributes"] = attributes_digest(checked.system)
    if sent.sequence is not None:
        answer["SequenceNumber"] = sent.sequence
    return answer


def _dedup_id(queue: Queue, checked: Draft) -> str | None:
    if not queue.settings.fifo:
        return None
    if checked.dedup is not None:
        return checked.dedup
    if not queue.settings.content_dedup:
        raise _no_dedup()
    return sha256(checked.body.encode()).hexdigest()


def _no_dedup() -> Refused:
    return invalid("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")


def _try_draft(entry: Request) -> Draft | Refused:
    try:
        return draft(entry)
    except Refused as refused:
        return refused


def _size(checked: Draft | Refused, entry: Request) -> int:
    """What an entry adds to the request's size; of one that is wrong, as much as can be read."""
    if isinstance(checked, Draft):
        return checked.size
    body = entry.get("MessageBody")
    return size_of(body, {}) if isinstance(body, str) else 0
