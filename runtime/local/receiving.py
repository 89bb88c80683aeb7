"""ReceiveMessage: checked once, then tried until there are messages or the wait is over (the server waits)."""

import re
from dataclasses import dataclass

from runtime.local.call import Answer, Call
from runtime.local.errors import Refused, invalid_value
from runtime.local.messages import attributes_digest, digest, matching
from runtime.local.queues import Delivery, Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive:
    """A checked ReceiveMessage: can be tried again and again until its wait is over."""

    call: Call
    queue: Queue
    limit: int
    visibility: int | None
    wait: int
    """Seconds."""
    attempt: str | None
    system: frozenset[str]
    names: tuple[str, ...]

    def attempt_now(self) -> Answer | None:
        """The answer, if there are messages; None if not. Raises QueueDoesNotExist once the queue is deleted."""
        if self.queue.deleted:
            raise Refused("QueueDoesNotExist", "The specified queue does not exist.")
        state = self.call.state
        target = state.dead_letter(self.queue)
        before = 0 if target is None else len(target)
        deliveries = self.queue.receive(
            limit=self.limit, visibility=self.visibility, now=state.clock(), attempt=self.attempt, dead_letter=target
        )
        if target is not None and len(target) > before:
            state.stirred.add(target)
        if not deliveries:
            return None
        if self.call.effects.duplicates(self.call.operation, self.queue.name):
            self.queue.hand_out_again(delivery.message for delivery in deliveries)
            state.stirred.add(self.queue)
        return {"Messages": [self._shown(delivery) for delivery in deliveries]}

    def _shown(self, delivery: Delivery) -> Answer:
        message = delivery.message
        shown: Answer = {
            "MessageId": message.id,
            "ReceiptHandle": delivery.handle,
            "MD5OfBody": digest(message.draft.body.encode()),
            "Body": message.draft.body,
        }
        if self.system and (system := self._system(delivery)):
            shown["Attributes"] = system
        if self.names and (found := matching(message.draft.attributes, self.names)):
            shown["MD5OfMessageAttributes"] = attributes_digest(found)
            raw = message.draft.raw_values
            shown["MessageAttributes"] = {name: attribute.as_json(raw[name]) for name, attribute in found.items()}
        return shown

    def _system(self, delivery: Delivery) -> dict[str, str]:
        message = delivery.message
        trace = message.draft.system.get("AWSTraceHeader")
        known = {
            "SenderId": message.sender,
            "SentTimestamp": str(int(message.sent * 1000)),
            "ApproximateReceiveCount": str(message.receives),
            "ApproximateFirstReceiveTimestamp": str(int(message.first_received * 1000)),
            "SequenceNumber": message.sequence,
            "MessageGroupId": message.draft.group,
            "MessageDeduplicationId": message.dedup,
            "DeadLetterQueueSourceArn": message.source_arn,
            "AWSTraceHeader": None if trace is None else trace.value.decode(),
        }
        every = "All" in self.system
        return {name: value for name, value in known.items() if value is not None and (every or name in self.system)}


def receive_message(call: Call) -> Receive:
    queue = call.queue()
    most = call.whole("MaxNumberOfMessages", 1, 10, "Must be between 1 and 10, if provided.")
    wait = call.whole("WaitTimeSeconds", 0, 20, "Must be >= 0 and <= 20, if provided.")
    attempt = call.maybe_text("ReceiveRequestAttemptId")
    if attempt is not None:
        if not queue.settings.fifo:
            reason = "The request include parameter that is not valid for this queue type."
            raise invalid_value(attempt, "ReceiveRequestAttemptId", reason)
        if re.fullmatch(r"[!-~]{1,128}", attempt) is None:
            reason = "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length."
            raise invalid_value(attempt, "ReceiveRequestAttemptId", reason)
    return Receive(
        call=call,
        queue=queue,
        limit=1 if most is None else most,
        visibility=call.visibility(),
        wait=queue.settings.wait if wait is None else wait,
        attempt=attempt,
        system=frozenset(call.names("AttributeNames") + call.names("MessageSystemAttributeNames")),
        names=tuple(call.names("MessageAttributeNames")),
    )


def _visibility(call: Call) -> int | None:
    return call.whole("VisibilityTimeout", 0, 43_200, "Must be >= 0 and <= 43200, if provided.")
