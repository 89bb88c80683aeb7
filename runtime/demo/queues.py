"""The queues of the demo, each with a dead-letter queue."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio

from runtime.demo.line import ACCOUNT, REGION, Counts, DemoClients, Reading

if TYPE_CHECKING:
    from types_aiobotocore_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

_VISIBILITY: Final = 2
_PRODUCE_EVERY: Final = 0.25


@dataclass(slots=True, kw_only=True)
class QueueLine:
    """A `Line`."""

    name: str
    shows: str
    handler: str
    max_receives: int
    poison_every: int = 0
    """Every so many messages one is poison."""
    source: str = "sqs"
    counts: Counts = field(default_factory=Counts)
    serial: int = 0

    def mapping(self) -> str:
        return (
            f"    EventSourceArn: arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}\n"
            "    FunctionResponseTypes: [ReportBatchItemFailures]\n"
        )

    async def make(self, clients: DemoClients) -> None:
        await clients.sqs.create_queue(QueueName=f"{self.name}-dead")
        dead_arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}-dead"
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": self.max_receives})
        attributes: Any = {"VisibilityTimeout": str(_VISIBILITY), "RedrivePolicy": redrive}
        await clients.sqs.create_queue(QueueName=self.name, Attributes=attributes)

    async def produce(self, clients: DemoClients) -> None:
        url = f"{clients.sqs.meta.endpoint_url}/{ACCOUNT}/{self.name}"
        while True:
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": self._body()} for number in range(1 + self.serial % 8)
            ]
            with anyio.CancelScope(shield=True):
                answer = await clients.sqs.send_message_batch(QueueUrl=url, Entries=entries)
                self.counts.produced += len(answer.get("Successful", ()))
            await anyio.sleep(_PRODUCE_EVERY)

    def look(self, read: Reading) -> None:
        """The queues from the endpoint and the outcomes from the worker's own metrics: two independent accounts."""
        queues = {queue["name"]: queue for queue in read.endpoint.state.inspect()["queues"]}
        own = queues[self.name]
        self.counts.waiting = own["visible"] + own["delayed"] + own["inFlight"]
        dead = queues[f"{self.name}-dead"]
        self.counts.given_up = dead["visible"] + dead["inFlight"] + dead["removed"]  # somebody may redrive them meanwhile
        self.counts.succeeded = read.metric("esm_deleted_events_total", self)
        self.counts.failed = read.metric("esm_failed_invoke_events_total", self)

    async def close_account(self, _: DemoClients, read: Reading) -> None:
        await anyio.lowlevel.checkpoint()
        self.look(read)

    def _body(self) -> str:
        self.serial += 1
        if self.poison_every and self.serial % self.poison_every == 0:
            return json.dumps({"id": self.serial, "poison": True})
        return json.dumps({"id": self.serial, "quantity": 1 + self.serial % 5})


def queue_lines() -> list[QueueLine]:
    return [
        QueueLine(name="orders", shows="succeeds", handler="orders", max_receives=5),
        QueueLine(name="shipments", shows="reports item failures", handler="item_failures", max_receives=5),
        QueueLine(name="payments", shows="meets poison", handler="poison", max_receives=2, poison_every=20),
    ]
