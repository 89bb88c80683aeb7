"""Plays a story of a few actors in every order in which their calls to a table may be carried out, with time passing in between.

An actor runs until it calls the table; there it waits until it is its turn. A turn carries the call out, and lets the actor run on
to its next one. Instead of a turn some time may pass, `pauses` times. `trouble` times in a story a turn may go wrong: the request
is lost; the answer is lost; the answer comes when the actor has its next turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from botocore.exceptions import ReadTimeoutError

from runtime.leases import StateError
from tests.fakes.dynamodb_table import FakeDynamodb
from tests.fakes.virtual_time import run_virtual

_TURNS = 40
"""Of the loop, in which whoever can run has run."""
OK, NO_REQUEST, NO_ANSWER, SLOW_ANSWER = "", "the request is lost", "the answer is lost", "the answer is slow"
_TROUBLE = (NO_REQUEST, NO_ANSWER, SLOW_ANSWER)
Script = Callable[[], Awaitable[None]]


@dataclass
class Stage:
    """The table, and the actors' ways to it. `open` lets all calls through: before the story and after it."""

    pauses: int
    pause: float
    """Seconds."""
    trouble: int
    table: FakeDynamodb = field(default_factory=FakeDynamodb)
    open: bool = True
    on_write: Callable[[str], None] = lambda _who: None
    """Told before each write who makes it."""
    waiting: dict[str, "asyncio.Future[str]"] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def client(self, who: str) -> Any:
        return _Client(self, who)

    async def turn(self, who: str) -> str:
        if self.open:
            return OK
        self.waiting[who] = asyncio.get_running_loop().create_future()
        try:
            return await self.waiting[who]
        finally:
            self.waiting.pop(who, None)


class _Client:
    def __init__(self, stage: Stage, who: str) -> None:
        self._stage = stage
        self._who = who

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        operation = "".join(word.title() for word in method.split("_"))

        async def call(**request: Any) -> Any:
            how = await self._stage.turn(self._who)
            self._stage.told.append(f"{self._who} {operation} {how}".rstrip())
            if how == NO_REQUEST:
                raise ReadTimeoutError(endpoint_url="http://table")
            self._stage.on_write(self._who)
            answer = error = None
            try:
                answer = self._stage.table.carry_out(operation, request)
            except Exception as refused:  # noqa: BLE001  # it is the answer
                error = refused
            if how == SLOW_ANSWER:
                await self._stage.turn(self._who)
            if how == NO_ANSWER:
                raise ReadTimeoutError(endpoint_url="http://table")
            if error is not None:
                raise error
            return answer

        return call


async def _settle() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


Story = Callable[[Stage], Awaitable[tuple[Mapping[str, Script], Callable[[], None], Callable[[], Awaitable[None]]]]]
"""Sets the stage; gives the actors' scripts, the check that must hold at every moment, and what must come true at the end."""


def every_order(story: Story, *, pauses: int, pause: float, trouble: int) -> int:
    """How many orders there were. An assertion that fails names its order."""
    number, choices = 0, [0]
    while True:
        counts: list[int] = []
        stage = Stage(pauses=pauses, pause=pause, trouble=trouble)
        try:
            run_virtual(_play, story, stage, _chooser(choices, counts))
        except BaseException as error:
            told = "\n  ".join(stage.told)
            raise AssertionError(f"order {number}, {choices}:\n  {told}\n{_first(error)!r}") from error
        number += 1
        path = [choices[place] if place < len(choices) else 0 for place in range(len(counts))]
        while path and path[-1] + 1 >= counts[len(path) - 1]:
            path.pop()
        if not path:
            return number
        path[-1] += 1
        choices = path


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _chooser(choices: list[int], counts: list[int]) -> Callable[[int], int]:
    def choose(options: int) -> int:
        place = len(counts)
        counts.append(options)
        return choices[place] if place < len(choices) else 0

    return choose


async def _play(story: Story, stage: Stage, choose: Callable[[int], int]) -> None:
    actors, check, end = await story(stage)
    stage.open = False
    async with anyio.create_task_group() as tasks:
        for name, script in actors.items():
            tasks.start_soon(_act, script, name=name)
        await _settle()
        while stage.waiting:
            turns = [(name, how) for name in sorted(stage.waiting) for how in _ways(stage)]
            more = [None] if stage.pauses else []
            picked = [*turns, *more][choose(len(turns) + len(more))]
            if picked is None:
                stage.pauses -= 1
                stage.told.append(f"{stage.pause} seconds pass")
                await anyio.sleep(stage.pause)
            else:
                name, how = picked
                stage.trouble -= how != OK
                stage.waiting.pop(name).set_result(how)
            await _settle()
            check()
        stage.open = True
        tasks.cancel_scope.cancel()
    await end()


def _ways(stage: Stage) -> Iterator[str]:
    yield OK
    if stage.trouble:
        yield from _TROUBLE


async def _act(script: Script) -> None:
    with suppress(StateError):
        await script()
