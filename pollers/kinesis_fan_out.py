"""Enhanced fan-out (KIN-11): a stream read by one of its registered consumers, whose records Kinesis sends by itself.

A subscription lasts five minutes and is then taken anew. The law: what was given out moves the position, nothing else does, and
a subscription begins right behind it; so one that ends, breaks or is lost costs no record and brings none twice. It moves
without records, too, by what the events say: the next one need not pass over an empty stretch again. Such a position is never
a checkpoint, for a restart finds the same records behind the last one that was read.

Kinesis takes a second subscription of one consumer to one shard only after five seconds, and then it ends the first one. While
that is the trouble, as after a shard has changed hands, the reader waits without a word. What fails otherwise is an error like
that of a poll; after a few of them in a row the shard is read by polling (GetRecords), and a subscription is tried once a minute.
What only somebody can mend, a consumer that is gone or a permission that is missing, is shown and not papered over by polling.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
import msgspec
from msgspec import Struct

from pollers.aws.answers import answer_of, read_content, translated, translating
from pollers.aws.clients import AwsClients, Observe
from pollers.aws.event_stream import EventStream
from pollers.aws.hot import BODY
from pollers.errors import PositionTrimmed, SourceError, SourceRejected, SourceUnavailable
from pollers.kinesis import BADLY_FORMED, SHORTEST_RETENTION, KinesisRecord, KinesisStream
from pollers.record import Position, PositionKind, Record, Shard, ShardPage
from pollers.shard_reading import FOREIGN, beyond, foreign_position
from pollers.source import ShardReader, StreamFacts

if TYPE_CHECKING:
    from types_aiobotocore_kinesis import KinesisClient

SUBSCRIBE: Final = "SubscribeToShard"
WAIT: Final = 1.0
"""Seconds that a read waits for records."""
BETWEEN: Final = 5.0
"""Seconds between two subscriptions to one shard that Kinesis asks for."""
STALLED: Final = 30.0
"""Seconds of waiting without any event: Kinesis sends empty ones all the time, so the connection is dead."""
FAILURES: Final = 3
"""So many in a row, and the shard is read by polling."""
POLLING: Final = 60.0
"""Seconds until a subscription is tried again."""
_IN_USE: Final = "ResourceInUseException"
_SILENCE: Final = int(STALLED) + 15
"""Seconds without a byte after which the connection is given up, also while nobody reads."""

TellFanOut = Callable[[str, SourceError | None], None]
"""Told of a shard that is read by polling from now on, and why; None: its records are pushed again, or nobody reads it here."""


class Pushed(Struct, frozen=True, kw_only=True):
    """What one event brought."""

    records: Sequence[Record]
    continues: str
    """The sequence number behind which a later subscription goes on; empty at the end of the shard."""
    behind: float
    """Seconds."""
    ended: bool
    size: int = 0
    """As `ShardPage`."""


class Subscription(Protocol):
    """One, from its first event to its end. Not safe for concurrent calls; a cancelled `next` loses nothing."""

    async def next(self) -> Pushed | None:
        """None: it is over, as it is every five minutes. Raises SourceError."""
        ...

    def close(self) -> None: ...


class Subscriber(Protocol):
    """Where the reader of a shard gets its records from. Raises SourceError."""

    precision: int

    async def subscribe(self, shard: str, at: Position) -> Subscription: ...

    async def poll(self, shard: str, at: Position) -> ShardReader: ...

    async def check_horizon(self, shard: str, behind: float, at: Position) -> None:
        """Raises PositionTrimmed when the records after the position are gone."""
        ...


class FanOutReader:
    """One shard, as a `ShardReader`."""

    def __init__(self, subscriber: Subscriber, shard: str, at: Position, *, now: float, tell: TellFanOut) -> None:
        """`now`: the wall clock, for LATEST: that moment is over when a subscription has to be taken anew."""
        self._subscriber = subscriber
        self._shard = shard
        self._position = at
        """Behind the last record that was given out."""
        self._continues = Position.at(now) if at.kind is PositionKind.LATEST else at
        """Behind the last event, all of whose records were given out or wait here."""
        self._tell = tell
        self._waiting: deque[Record] = deque()
        self._size = 0
        """Of what came since the last page was given out."""
        self._behind: float | None = None
        self._last: Pushed | None = None
        self._subscription: Subscription | None = None
        self._subscribe_at = -BETWEEN
        self._silent = 0.0
        self._failures = 0
        self._polled: ShardReader | None = None
        self._told = False

    async def open(self) -> None:
        """Subscribe. Raises SourceError; but that the shard has a subscription already only means to wait."""
        try:
            await self._subscribe(self._position)
        except SourceUnavailable as error:
            if error.code != _IN_USE:
                raise

    async def read(self, *, limit: int) -> ShardPage:
        if not self._waiting and (self._last is None or not self._last.ended):
            if self._polled is not None and not await self._is_pushed_again():
                return await self._poll(self._polled, limit)
            if self._subscription is None and not await self._is_subscribed():
                return self._nothing()
            self._last = await self._receive()
        return self._page(limit)

    def close(self) -> None:
        self._end_subscription()
        if self._told:
            self._told = False
            self._tell(self._shard, None)

    # what was pushed

    async def _receive(self) -> Pushed | None:
        """The next event, with its records waiting; None when there is none for now. Raises SourceError."""
        subscription, began = self._subscription, anyio.current_time()
        if subscription is None:
            return None
        pushed = None
        try:
            with anyio.move_on_after(WAIT) as patience:
                pushed = await subscription.next()
        except SourceError as error:
            self._end_subscription()
            self._failed(error)
            if error.code != _IN_USE:
                raise
            self._subscribe_at = max(self._subscribe_at, anyio.current_time() + BETWEEN)  # somebody else has it now
            return None
        if pushed is not None:
            await self._take_in(pushed)
            return pushed
        if not patience.cancelled_caught:
            self._end_subscription()
            return None
        self._silent += anyio.current_time() - began
        if self._silent >= STALLED:
            self._end_subscription()
            text = f"{SUBSCRIBE} on {self._shard}: no event for {self._silent:.0f} seconds"
            stalled = SourceUnavailable(text, code="subscription_stalled")
            self._failed(stalled)
            raise stalled
        return None

    async def _take_in(self, pushed: Pushed) -> None:
        if not pushed.records and pushed.behind >= SHORTEST_RETENTION and self._position.sequence:
            try:
                await self._subscriber.check_horizon(self._shard, pushed.behind, self._position)
            except PositionTrimmed:
                self._end_subscription()
                raise
        self._silent, self._failures = 0.0, 0
        self._behind = pushed.behind
        self._size += pushed.size
        self._waiting.extend(beyond(pushed.records, self._position, precision=self._subscriber.precision))
        if pushed.continues:
            self._continues = Position.after(pushed.continues)
        if self._told:
            self._told = False
            self._tell(self._shard, None)
        if pushed.ended:
            self._end_subscription()

    def _page(self, limit: int) -> ShardPage:
        waiting = self._waiting
        records = tuple([waiting.popleft() for _ in range(min(limit, len(waiting)))])
        if records:
            self._position = Position.after(records[-1].id)
        ended = self._last is not None and self._last.ended and not waiting
        more = bool(waiting) or (not ended and bool(self._behind))
        size, self._size = self._size, 0
        return ShardPage(records=records, ended=ended, more=more, behind=self._behind, size=size, pushed=True)

    def _nothing(self) -> ShardPage:
        return ShardPage(behind=self._behind, more=bool(self._behind), pushed=True)

    # subscribing

    async def _is_subscribed(self) -> bool:
        """After waiting for a while, if need be. Raises SourceError."""
        pause = self._subscribe_at - anyio.current_time()
        if pause > 0:
            await anyio.sleep(min(pause, WAIT))
            if pause > WAIT:
                return False
        try:
            await self._subscribe(self._continues)
        except SourceUnavailable as error:
            self._failed(error)
            if error.code != _IN_USE:
                raise
        return self._subscription is not None

    async def _subscribe(self, at: Position) -> None:
        began = anyio.current_time()
        try:
            self._subscription = await self._subscriber.subscribe(self._shard, at)
        except SourceError as error:
            if error.code == _IN_USE:
                self._subscribe_at = anyio.current_time() + BETWEEN
            elif error.code == FOREIGN and self._position.sequence:  # what an event said may be; the number of a record is none
                self._continues = self._position
            raise
        self._subscribe_at = began + BETWEEN
        self._silent = 0.0

    def _end_subscription(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def _failed(self, error: SourceError) -> None:
        """Once too often, and the shard is polled: until the next event, a subscription has to prove itself at once."""
        if isinstance(error, SourceRejected):
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self._subscribe_at = anyio.current_time() + POLLING
            self._polled = self._polled or _NotOpenYet()
            if not self._told:
                self._told = True
                self._tell(self._shard, error)

    # polling meanwhile

    async def _poll(self, polled: ShardReader, limit: int) -> ShardPage:
        if isinstance(polled, _NotOpenYet):
            at = self._continues if self._position.kind is PositionKind.LATEST else self._position
            self._polled = polled = await self._subscriber.poll(self._shard, at)
        page = await polled.read(limit=limit)
        if page.records:
            self._position = self._continues = Position.after(page.records[-1].id)
        self._behind = page.behind
        return page

    async def _is_pushed_again(self) -> bool:
        """Tries to subscribe when it is time. What fails is no error of a read that can be answered by polling."""
        if anyio.current_time() < self._subscribe_at:
            return False
        try:
            await self._subscribe(self._continues)
        except SourceUnavailable as error:
            self._failed(error)
            return False
        self._polled = None
        return True


class _NotOpenYet:
    """Stands for the reader that polls until it is made."""

    async def read(self, *, limit: int) -> ShardPage:
        raise NotImplementedError(limit)

    def close(self) -> None: ...


# on AWS


class _PushedEvent(Struct):
    """https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShardEvent.html."""

    Records: list[KinesisRecord] | None = None
    ContinuationSequenceNumber: str | None = None
    MillisBehindLatest: float | None = None
    ChildShards: list[dict[str, Any]] | None = None


_EVENT: Final = msgspec.json.Decoder(_PushedEvent)


class FanOutStream:
    """A stream that is read by one of its consumers, as a `StreamSource`. Making it asks AWS nothing."""

    precision = KinesisStream.precision

    def __init__(self, clients: AwsClients, arn: str, *, observe: Observe, clock: Callable[[], float], tell: TellFanOut) -> None:
        """`arn`: of the consumer. `clock`: the wall clock, seconds since the epoch."""
        self._polled = KinesisStream(clients, arn, observe=observe, clock=clock)
        self._clients = clients
        self._arn = arn
        stream, _, self._consumer = arn.partition("/consumer/")
        self._name = stream.partition("/")[2]
        self._region = arn.split(":")[3]
        self._observe = observe
        self._clock = clock
        self._tell = tell
        self._active = False

    async def describe(self) -> StreamFacts:
        """Asks for the consumer, too, until it was seen active."""
        if not self._active:
            await self._check_consumer()
            self._active = True
        return await self._polled.describe()

    async def list_shards(self) -> list[Shard]:
        return await self._polled.list_shards()

    async def open_shard(self, shard: str, at: Position) -> FanOutReader:
        if at.kind is PositionKind.SHARD_END:
            msg = "a shard that was read to its end is not opened again"
            raise ValueError(msg)
        reader = FanOutReader(self, shard, at, now=self._clock(), tell=self._tell)
        await reader.open()
        return reader

    async def subscribe(self, shard: str, at: Position) -> "KinesisSubscription":
        client: KinesisClient = await self._clients.listening_client("kinesis", self._region, silence=_SILENCE)
        where: dict[str, Any] = {"Type": at.kind.value}
        if at.sequence:
            where["SequenceNumber"] = at.sequence
        elif at.kind is PositionKind.AT_TIMESTAMP:
            where["Timestamp"] = at.timestamp
        on = f"{shard} of {self._name} by {self._consumer}"
        asked: Any = client.subscribe_to_shard(ConsumerARN=self._arn, ShardId=shard, StartingPosition=where)  # type: ignore[arg-type]  # the dict is filled above
        try:
            with translating(SUBSCRIBE, on=on, observe=self._observe):
                answer = await asked
        except SourceError as error:
            if error.code in BADLY_FORMED and at.sequence:
                raise foreign_position(error, at, stream=self._name) from error
            raise
        self._observe(SUBSCRIBE, "ok")
        return KinesisSubscription(EventStream(answer[BODY], operation=SUBSCRIBE), self._polled, shard, on, self._observe)

    async def poll(self, shard: str, at: Position) -> ShardReader:
        return await self._polled.open_shard(shard, at)

    async def check_horizon(self, shard: str, behind: float, at: Position) -> None:
        await self._polled.check_horizon(behind, at, on=f"{shard} of {self._name}")

    async def _check_consumer(self) -> None:
        client: KinesisClient = await self._clients.client("kinesis", self._region, retries=False)
        on = f"{self._consumer} of {self._name}"
        asked = client.describe_stream_consumer(ConsumerARN=self._arn)
        answer = await answer_of("DescribeStreamConsumer", asked, on=on, needs="ConsumerDescription", observe=self._observe)
        status = answer["ConsumerDescription"].get("ConsumerStatus")
        if status != "ACTIVE":
            text = f"the consumer {on} is {status}, and records are pushed to it only when it is ACTIVE"
            kind = SourceUnavailable if status == "CREATING" else SourceRejected
            raise kind(text, code="consumer_not_active")


class KinesisSubscription:
    """A `Subscription`. Events that are none of records are passed over."""

    def __init__(self, events: EventStream, stream: KinesisStream, shard: str, on: str, observe: Observe) -> None:
        self._events = events
        self._stream = stream
        self._shard = shard
        self._on = on
        self._observe = observe

    async def next(self) -> Pushed | None:
        try:
            while (event := await self._events.next()) is not None:
                if event.kind == "SubscribeToShardEvent":
                    return self._pushed(event.payload)
        except Exception as error:
            raise translated(error, SUBSCRIBE, on=self._on, observe=self._observe) from error
        return None

    def close(self) -> None:
        self._events.close()

    def _pushed(self, payload: bytes) -> Pushed:
        """Raises ValueError. Only children end a shard: what says neither where it goes on nor that it ends is not believed."""
        event = read_content(payload, _EVENT)
        records, size = self._stream.complete(self._shard, event.Records)
        continues = event.ContinuationSequenceNumber or ""
        ended = bool(event.ChildShards)
        if not ended and not (continues.isascii() and continues.isdigit()):
            raise ValueError(f"ContinuationSequenceNumber is {event.ContinuationSequenceNumber!r}")
        behind = (event.MillisBehindLatest or 0.0) / 1000
        return Pushed(records=records, continues="" if ended else continues, behind=behind, ended=ended, size=size)
