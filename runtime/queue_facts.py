"""What follows from what a queue says of itself."""

from handlers.invoker import FunctionSpec
from pollers.source import QueueFacts
from runtime.core.mapping import EventSourceMapping

_SLACK = 30
_LONGEST = 12 * 3600


def receive_visibility(mapping: EventSourceMapping, function: FunctionSpec, queue_timeout: int) -> int | None:
    """Seconds for which a receive is to hide its records; None leaves it to the queue (SQS-36, SQS-37)."""
    if not mapping.batch.window:
        return None
    return min(_LONGEST, max(queue_timeout, mapping.batch.window + function.timeout + _SLACK))


def queue_warnings(mapping: EventSourceMapping, function: FunctionSpec, facts: QueueFacts) -> list[str]:
    """What will hurt in production although nothing refuses it here."""
    found = []
    timeout = facts.visibility_timeout
    queue = mapping.source_arn
    if timeout == 0:
        found.append(
            f"the visibility timeout of {queue} is 0: what is received stays visible to everybody and is worked on again and"
            f" again. Set it to at least {function.timeout} seconds"
        )
    elif timeout < function.timeout:
        found.append(
            f"Queue visibility timeout: {timeout} seconds is less than Function timeout: {function.timeout} seconds ({queue})."
            " AWS refuses such a mapping (SQS-06); here records are kept hidden while the handler runs, but with so short a"
            f" timeout a pause of the worker gives them to others. Set it to 6 times the function's: {6 * function.timeout}"
        )
    if not facts.redrive:
        found.append(
            f"{queue} has no redrive policy: a record that always fails comes back until the queue's retention ends."
            " Give it a dead-letter queue with maxReceiveCount 5 or more"
        )
    return found
