"""What the simulated function answers to a batch, and what that means by the rules (COM-20..23, KIN-50..57, COM-94)."""

from typing import Any

from handlers.invoker import FunctionError, NotInvoked, Outcome, Succeeded
from tests.simulation.journal import Ending
from tests.simulation.world import World


class Answers:
    """What the function answers to one batch, and what that means by the rules."""

    def __init__(self, world: World, event: dict[str, Any], sequences: tuple[str, ...]) -> None:
        self._world = world
        self._event = event
        self._sequences = sequences
        self._windowed = "window" in event
        self._dice = world.dice("function")

    def answer(self) -> tuple[Ending, int, Outcome]:
        world, chances, count = self._world, self._world.scenario.chances, len(self._sequences)
        if world.happens("function", chances.throttle):
            return Ending.THROTTLED, 0, NotInvoked(reason="ReservedFunctionConcurrentInvocationLimitExceeded")
        bad = [n for n, sequence in enumerate(self._sequences) if self._is_poison(sequence)]
        if world.happens("function", chances.function_error):
            if not world.scenario.mapping.report_item_failures or not count or self._dice.random() < 0.3:
                return Ending.FAILURE, 0, self._error()
            bad += self._dice.sample(range(count), self._dice.randint(1, count))
        if world.happens("function", chances.malformed) and (malformed := self._malformed()) is not None:
            return Ending.FAILURE, 0, Succeeded(response=malformed)
        if not bad:
            return Ending.SUCCESS, count, Succeeded(response=self._success())
        if not world.scenario.mapping.report_item_failures:
            return Ending.FAILURE, 0, self._error()
        done = min(bad)
        self._dice.shuffle(bad)
        items = [{"itemIdentifier": self._sequences[n]} for n in bad]
        ending = Ending.PARTIAL if done else Ending.FAILURE
        return ending, done, Succeeded(response={"batchItemFailures": items, **self._state(done)})

    def _is_poison(self, sequence: str) -> bool:
        scenario = self._world.scenario
        ends = scenario.policy.attempts >= 0 or scenario.policy.age >= 0
        return int(sequence) in scenario.poison and (ends or self._world.stormy)

    def _error(self) -> FunctionError:
        document = {"errorMessage": "no", "errorType": "Exception"}
        return FunctionError(error_type="Exception", message="no", document=document, timed_out=self._dice.random() < 0.2)

    def _success(self) -> Any:
        """KIN-51; whatever a handler returns is a success where nothing is reported (COM-22)."""
        if self._windowed:
            return self._state(len(self._sequences))
        shapes: list[Any] = [None, {}, "", [], {"batchItemFailures": []}, {"batchItemFailures": None}]
        if not self._world.scenario.mapping.report_item_failures:
            shapes += [{"batchItemFailures": [{"itemIdentifier": self._sequences[-1]}]}, "fine", 1, {"foo": 123}]
        return self._dice.choice(shapes)

    def _malformed(self) -> Any:
        """KIN-52, COM-94. None where every answer is a success."""
        shapes: list[Any] = []
        if self._world.scenario.mapping.report_item_failures and self._sequences:
            names: list[Any] = ["nobody", "", None, 123]
            shapes += [{"batchItemFailures": [{"itemIdentifier": name}], **self._state(0)} for name in names]
            shapes += [{"batchItemFailures": [{"foo": 123}], **self._state(0)}]
        if self._windowed:
            shapes += [None, {}, {"state": None}, {"state": "text"}] if not self._event["isFinalInvokeForWindow"] else []
        return self._dice.choice(shapes) if shapes else None

    def _state(self, done: int) -> dict[str, Any]:
        """The handler keeps what it has seen of the window."""
        if not self._windowed:
            return {}
        return {"state": {"seen": [*self._event["state"].get("seen", ()), *self._sequences[:done]]}}
