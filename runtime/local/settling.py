"""What becomes of received messages: DeleteMessage, ChangeMessageVisibility, and their batches."""

from runtime.local.call import Answer, Call, Request, batch_entries, entry_text, run_batch
from runtime.local.errors import invalid_value, missing
from runtime.local.queues import LONGEST_HIDING, Queue


def delete_message(call: Call) -> Answer:
    queue = call.queue()
    _delete(call, queue, call.text("ReceiptHandle"))
    return {}


def delete_message_batch(call: Call) -> Answer:
    queue = call.queue()
    entries = batch_entries(call, "DeleteMessageBatchRequestEntry")
    return run_batch(call, queue, entries, lambda entry: _delete(call, queue, entry_text(entry, "ReceiptHandle")))


def _delete(call: Call, queue: Queue, handle: str) -> Answer:
    queue.delete(handle, now=call.state.clock(), delay=call.effects.delete_delay(call.operation, queue.name))
    call.state.stirred.add(queue)
    return {}


def change_message_visibility(call: Call) -> Answer:
    queue = call.queue()
    handle, seconds = call.text("ReceiptHandle"), call.visibility()
    if seconds is None:
        raise missing("VisibilityTimeout")
    return _change_visibility(call, queue, handle, seconds)


def change_message_visibility_batch(call: Call) -> Answer:
    """An entry without VisibilityTimeout counts as 0: the shape does not require it, and an integer's default is 0."""
    queue = call.queue()
    entries = batch_entries(call, "ChangeMessageVisibilityBatchRequestEntry")

    def one(entry: Request) -> Answer:
        seconds = entry.get("VisibilityTimeout", 0)
        if type(seconds) is not int or not 0 <= seconds <= LONGEST_HIDING:
            raise invalid_value(seconds, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
        return _change_visibility(call, queue, entry_text(entry, "ReceiptHandle"), seconds)

    return run_batch(call, queue, entries, one)


def _change_visibility(call: Call, queue: Queue, handle: str, seconds: int) -> Answer:
    queue.change_visibility(handle, seconds, now=call.state.clock())
    call.state.stirred.add(queue)
    return {}
