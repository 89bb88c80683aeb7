"""The connections of one endpoint, in virtual time: which are kept, how many there are, what is repeated, and how requests end."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from botocore import exceptions as boto
from hypothesis import given, settings
from hypothesis import strategies as st

from pollers.aws.lean.connection import Answer
from pollers.aws.lean.pool import Pool
from tests.fakes.virtual_time import START, run_virtual, virtual_time
from tests.fakes.wire import REQUEST, Wire, Wires, answering, http, pool

OK: Final = http()


@contextmanager
def wires(answer: bytes | Callable[[Wire, bytes], None] | None = OK) -> Iterator[Wires]:
    with Wires(answering(answer) if isinstance(answer, bytes) else answer) as made:
        yield made


def now() -> float:
    return asyncio.get_running_loop().time() - START


async def ticks(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# keeping


@virtual_time
async def test_one_connection_carries_one_request_after_another() -> None:
    with wires() as net:
        connections = pool()
        for _ in range(10):
            assert (await connections.ask(REQUEST, repeatable=False)).head.status == 200
        assert (len(net.made), net.requests) == (1, 10)
        connections.close()


@virtual_time
async def test_requests_at_one_time_have_connections_of_their_own_and_the_last_one_used_is_taken_first() -> None:
    with wires(None) as net:
        connections = pool()
        asked = [asyncio.ensure_future(connections.ask(REQUEST, repeatable=False)) for _ in range(3)]
        await ticks()
        for number in (1, 0, 2):
            net.made[number].deliver(OK)
            await ticks()
        await asyncio.gather(*asked)
        again = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        await ticks()
        assert [wire.sent.count(b"POST") for wire in net.made] == [1, 1, 2]
        net.made[2].deliver(OK)
        await again
        connections.close()


@virtual_time
async def test_an_idle_connection_is_closed_after_a_minute_and_nothing_ticks_on() -> None:
    with wires() as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        await asyncio.sleep(59)
        assert len(net.open) == 1
        await asyncio.sleep(3)
        assert net.open == []
        await asyncio.sleep(1)
        assert connections._sweeper is None
        connections.close()


@virtual_time
async def test_what_may_not_be_repeated_goes_on_a_connection_that_was_heard_of_just_now() -> None:
    with wires() as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=False)
        await asyncio.sleep(4)
        await connections.ask(REQUEST, repeatable=False)
        assert len(net.made) == 1
        await asyncio.sleep(6)
        await connections.ask(REQUEST, repeatable=False)
        assert (len(net.made), len(net.open)) == (2, 1)
        await asyncio.sleep(6)
        await connections.ask(REQUEST, repeatable=True)
        assert len(net.made) == 2
        connections.close()


@virtual_time
async def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used() -> None:
    with wires() as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=False)
        net.made[0].end()
        await connections.ask(REQUEST, repeatable=False)
        assert [wire.sent.count(b"POST") for wire in net.made] == [1, 1]
        connections.close()


# repeating


def drop_the_second(wire: Wire, _: bytes) -> None:
    """A server that forgot an idle connection: it closes it when something comes."""
    if wire.sent.count(b"POST") == 1:
        wire.deliver(OK)
    else:
        wire.end(ConnectionResetError("reset"))


@virtual_time
async def test_a_request_that_may_be_repeated_is_sent_again_once_when_its_kept_connection_turns_out_closed() -> None:
    with wires(drop_the_second) as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        assert (await connections.ask(REQUEST, repeatable=True)).head.status == 200
        assert [wire.sent.count(b"POST") for wire in net.made] == [2, 1]
        assert now() == 0
        connections.close()


@virtual_time
async def test_one_that_may_not_be_repeated_never_is() -> None:
    with wires(drop_the_second) as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=False)
        with pytest.raises(boto.ConnectionClosedError, match="was closed"):
            await connections.ask(REQUEST, repeatable=False)
        assert net.requests == 2
        connections.close()


@virtual_time
async def test_it_is_sent_again_only_once() -> None:
    def drop(wire: Wire, _: bytes) -> None:
        if net.requests == 1:
            wire.deliver(OK)
        else:
            wire.end()

    with wires(drop) as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        with pytest.raises(boto.ConnectionClosedError):
            await connections.ask(REQUEST, repeatable=True)
        assert net.requests == 3
        assert net.open == []
        connections.close()


@virtual_time
async def test_a_fresh_connection_that_is_closed_is_no_reason_to_ask_again() -> None:
    """It was not closed for being idle: the server does not want this."""
    with wires(lambda wire, _: wire.end()) as net:
        connections = pool()
        with pytest.raises(boto.ConnectionClosedError):
            await connections.ask(REQUEST, repeatable=True)
        assert net.requests == 1
        connections.close()


@virtual_time
async def test_half_an_answer_is_no_reason_to_ask_again() -> None:
    def half(wire: Wire, _: bytes) -> None:
        wire.deliver(OK if wire.sent.count(b"POST") == 1 else OK[:20])
        if wire.sent.count(b"POST") == 2:
            wire.end()

    with wires(half) as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        with pytest.raises(boto.ConnectionClosedError):
            await connections.ask(REQUEST, repeatable=True)
        assert net.requests == 2
        connections.close()


@virtual_time
async def test_however_many_kept_connections_were_closed_a_request_is_sent_twice_at_most() -> None:
    """The second time on a connection made for it."""
    with wires(None) as net:
        connections = pool()
        asked = [asyncio.ensure_future(connections.ask(REQUEST, repeatable=True)) for _ in range(4)]
        await ticks()
        for wire in net.made:
            wire.deliver(OK)
            wire.answer = lambda wire, _: wire.end()
        await asyncio.gather(*asked)
        net.answer = answering(OK)
        assert (await connections.ask(REQUEST, repeatable=True)).head.status == 200
        assert net.requests == 6
        connections.close()


# the bound


def after_a_second(wire: Wire, _: bytes) -> None:
    asyncio.get_running_loop().call_later(1, wire.deliver, OK)


@pytest.mark.parametrize("most", [1, 3])
def test_there_are_never_more_connections_than_allowed_and_everybody_is_served(most: int) -> None:
    async def run() -> None:
        with wires(after_a_second) as net:
            connections, busiest = pool(most=most), 0

            async def ask() -> None:
                nonlocal busiest
                await connections.ask(REQUEST, repeatable=False)
                busiest = max(busiest, len(net.open))

            await asyncio.gather(*(ask() for _ in range(30)))
            assert (len(net.made), busiest, now()) == (most, most, 30 / most)
            connections.close()

    run_virtual(run())


@virtual_time
async def test_one_who_waited_opens_a_connection_when_that_of_another_was_closed() -> None:
    with wires(lambda wire, _: wire.deliver(http(connection="close"))) as net:
        connections = pool(most=1)
        await asyncio.gather(*(connections.ask(REQUEST, repeatable=False) for _ in range(5)))
        assert (len(net.made), net.open) == (5, [])
        connections.close()


@virtual_time
async def test_one_who_waits_is_served_when_a_connection_could_not_be_opened() -> None:
    with wires() as net:
        connections = pool(most=1)

        async def refuse() -> None:
            await asyncio.sleep(1)
            net.before = None
            raise ConnectionRefusedError

        net.before = refuse
        first = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        await ticks()
        second = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        with pytest.raises(boto.EndpointConnectionError):
            await first
        assert (await asyncio.wait_for(second, 60)).head.status == 200
        connections.close()


@virtual_time
async def test_one_who_waits_is_served_when_the_opening_of_a_connection_was_cancelled() -> None:
    with wires() as net:
        connections = pool(most=1)
        net.before = lambda: asyncio.sleep(3)
        first = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        await ticks()
        second = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        await ticks()
        first.cancel()
        assert (await asyncio.wait_for(second, 60)).head.status == 200
        connections.close()


@virtual_time
async def test_one_who_is_cancelled_while_his_turn_comes_gives_it_to_the_next() -> None:
    with wires(None) as net:
        connections = pool(most=1)
        asked = [asyncio.ensure_future(connections.ask(REQUEST, repeatable=False)) for _ in range(4)]
        await ticks()
        asked[1].cancel()
        net.made[0].deliver(OK)
        await asyncio.sleep(0)  # the first takes its answer, and the turn is given
        asked[2].cancel()
        await ticks()
        net.made[0].deliver(OK)
        assert (await asyncio.wait_for(asked[3], 60)).head.status == 200
        assert [task.cancelled() for task in asked] == [False, True, True, False]
        connections.close()


class Mishaps:
    """A pool, those who ask, and whatever can happen to them."""

    def __init__(self, net: Wires, most: int) -> None:
        self.net, self.most = net, most
        self.pool = pool(most=most, connect_timeout=1e6, read_timeout=1e6)
        self.tasks: list[asyncio.Task[Answer]] = []
        self.gates: list[asyncio.Future[None]] = []
        """Of those who open a connection."""
        net.before = self.gate

    async def gate(self) -> None:
        self.gates.append(asyncio.get_running_loop().create_future())
        await self.gates[-1]

    @property
    def shut(self) -> list[asyncio.Future[None]]:
        return [each for each in self.gates if not each.done()]

    def ask(self, number: int) -> None:
        self.tasks.append(asyncio.ensure_future(self.pool.ask(REQUEST, repeatable=number % 2 == 0)))

    def answer(self, number: int, answer: bytes = OK) -> None:
        if busy := [wire for wire in self.net.open if wire.protocol._waiter is not None]:
            busy[number % len(busy)].deliver(answer)

    def answer_and_close(self, number: int) -> None:
        self.answer(number, http(connection="close"))

    def drop(self, number: int) -> None:
        if self.net.open:
            self.net.open[number % len(self.net.open)].end()

    def cancel(self, number: int) -> None:
        if self.tasks:
            self.tasks[number % len(self.tasks)].cancel()

    def open(self, number: int) -> None:
        if self.shut:
            self.shut[number % len(self.shut)].set_result(None)

    def refuse(self, number: int) -> None:
        if self.shut:
            self.shut[number % len(self.shut)].set_exception(ConnectionRefusedError())

    def check_bound(self) -> None:
        assert len(self.net.open) + len(self.shut) <= self.most

    async def calm_down(self) -> None:
        """From now on everything works."""
        self.net.before, self.net.answer = None, answering(OK)
        for each in self.shut:
            each.set_result(None)
        for wire in self.net.open:
            wire.answer = self.net.answer
            if wire.protocol._waiter is not None:
                wire.deliver(OK)
        await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), 600)


MISHAPS: Final = (
    Mishaps.ask,
    Mishaps.ask,
    Mishaps.ask,
    Mishaps.answer,
    Mishaps.answer,
    Mishaps.answer_and_close,
    Mishaps.drop,
    Mishaps.cancel,
    Mishaps.open,
    Mishaps.refuse,
)


@settings(max_examples=250, deadline=None)
@given(
    most=st.integers(1, 3),
    acts=st.lists(st.tuples(st.sampled_from(MISHAPS), st.integers(0, 30), st.sampled_from([0, 0, 0, 1, 7])), max_size=60),
)
def test_whatever_happens_the_bound_holds_and_everybody_who_waits_is_served(
    most: int, acts: list[tuple[Callable[[Mishaps, int], None], int, int]]
) -> None:
    async def run() -> None:
        with wires(None) as net:
            world = Mishaps(net, most)
            for act, number, seconds in acts:
                act(world, number)
                await ticks(number % 4)
                await asyncio.sleep(seconds)
                world.check_bound()
            await world.calm_down()
            assert (world.pool._busy, world.pool._opening) == (set(), 0)
            world.pool.close()
            await ticks()
            assert net.open == []

    run_virtual(run())


# time


@virtual_time
async def test_a_read_times_out_after_its_seconds_without_a_byte() -> None:
    with wires(None) as net:
        connections = pool(read_timeout=30)
        with pytest.raises(boto.ReadTimeoutError, match="sqs"):
            await connections.ask(REQUEST, repeatable=True)
        assert 30 < now() <= 31.1
        assert net.open == []
        assert net.requests == 1
        connections.close()


@virtual_time
async def test_an_answer_that_keeps_coming_has_all_the_time() -> None:
    with wires(None) as net:
        connections = pool(read_timeout=30)
        asked = asyncio.ensure_future(connections.ask(REQUEST, repeatable=False))
        for byte in OK:
            await asyncio.sleep(20)
            net.made[0].deliver(bytes([byte]))
        assert (await asked).head.status == 200
        connections.close()


@virtual_time
async def test_a_connection_times_out_while_it_is_opened() -> None:
    with wires() as net:
        net.before = lambda: asyncio.sleep(100)
        connections = pool(connect_timeout=5)
        with pytest.raises(boto.ConnectTimeoutError, match="sqs"):
            await connections.ask(REQUEST, repeatable=True)
        assert now() == 5
        connections.close()


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (ConnectionRefusedError("no"), boto.EndpointConnectionError),
        (TimeoutError("no"), boto.ConnectTimeoutError),
        (OSError("no such host"), boto.EndpointConnectionError),
        (ssl.SSLCertVerificationError("self-signed"), boto.SSLError),
    ],
)
def test_a_connection_that_cannot_be_made_is_told_in_the_words_of_botocore(raised: Exception, told: type[Exception]) -> None:
    async def run() -> None:
        with wires() as net:

            async def refuse() -> None:
                raise raised

            net.before = refuse
            connections = pool()
            with pytest.raises(told, match=str(raised) if told is boto.SSLError else "sqs"):
                await connections.ask(REQUEST, repeatable=True)
            connections.close()

    run_virtual(run())


# ending


@virtual_time
async def test_a_cancelled_request_closes_its_connection_and_leaves_nothing_behind() -> None:
    with wires(None) as net:
        connections = pool()
        asked = asyncio.ensure_future(connections.ask(REQUEST, repeatable=True))
        await ticks()
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled()
        assert net.open == []
        assert (connections._busy, list(connections._idle), connections._opening) == (set(), [], 0)
        connections.close()


@virtual_time
async def test_closing_ends_all_that_is_in_the_air_and_all_who_wait() -> None:
    with wires(None) as net:
        connections = pool(most=2)
        asked = [asyncio.ensure_future(connections.ask(REQUEST, repeatable=True)) for _ in range(2)]
        await ticks()
        net.made[0].deliver(OK)
        await ticks()
        asked += [asyncio.ensure_future(connections.ask(REQUEST, repeatable=True)) for _ in range(3)]
        await ticks()
        connections.close()
        ended = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
        assert [type(each) for each in ended] == [Answer, *[boto.ConnectionClosedError] * 4]
        assert (len(net.made), net.open) == (2, [])


@virtual_time
async def test_a_connection_that_is_being_opened_when_the_pool_closes_is_closed() -> None:
    with wires() as net:
        net.before = lambda: asyncio.sleep(1)
        connections = pool()
        asked = asyncio.ensure_future(connections.ask(REQUEST, repeatable=True))
        await ticks()
        connections.close()
        with pytest.raises(boto.ConnectionClosedError, match="was closed"):
            await asked
        assert (net.open, net.requests) == ([], 0)


@virtual_time
async def test_who_waits_when_the_pool_closes_waits_for_nobody() -> None:
    with wires() as net:
        net.before = lambda: asyncio.sleep(3)
        connections = pool(most=1)
        asked = [asyncio.ensure_future(connections.ask(REQUEST, repeatable=True)) for _ in range(3)]
        await ticks()
        connections.close()
        await asyncio.wait(asked[1:])
        assert now() == 0
        await asyncio.wait(asked)
        assert {type(task.exception()) for task in asked} == {boto.ConnectionClosedError}


@virtual_time
async def test_a_closed_pool_leaves_no_timer() -> None:
    with wires():
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        connections.close()
        await asyncio.sleep(0)
        assert connections._sweeper is not None
        assert connections._sweeper.cancelled()


@virtual_time
async def test_a_closed_pool_opens_nothing() -> None:
    with wires() as net:
        connections = pool()
        await connections.ask(REQUEST, repeatable=True)
        connections.close()
        with pytest.raises(boto.ConnectionClosedError, match="was closed"):
            await connections.ask(REQUEST, repeatable=True)
        assert (len(net.made), net.open) == (1, [])
        await asyncio.sleep(100)
        connections.close()


@virtual_time
async def test_an_answer_that_comes_as_the_pool_closes_is_still_given() -> None:
    with wires(None) as net:
        connections: Pool = pool()
        asked = asyncio.ensure_future(connections.ask(REQUEST, repeatable=True))
        await ticks()
        net.made[0].deliver(OK)
        connections.close()
        assert (await asked).head.status == 200
        await ticks()
        assert net.open == []
