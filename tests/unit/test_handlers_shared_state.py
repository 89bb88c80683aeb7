"""Handlers that keep a Powertools batch processor between invocations are found; others are left alone."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from handlers.code_roots import CODE_ROOTS
from handlers.invoker import FunctionSpec
from handlers.python_function import PythonFunction

_IMPORTS = """
import functools
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, SqsFifoPartialProcessor
from aws_lambda_powertools.utilities.batch import batch_processor, process_partial_response
def one(record): pass
"""


@pytest.fixture(autouse=True)
def _code_roots_are_taken_back() -> Iterator[None]:
    yield
    CODE_ROOTS.close()


def shared_state(folder: Path, **files: str) -> str | None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(_IMPORTS + textwrap.dedent(text))
    spec = FunctionSpec(name="f", handler="main.handler", code_root=folder)
    return PythonFunction.load(spec).shared_state


@pytest.mark.parametrize(
    "code",
    [
        # the pattern of the documentation
        """
        processor = BatchProcessor(event_type=EventType.SQS)
        def handler(event, context):
            return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
        """,
        """
        processor = SqsFifoPartialProcessor()
        async def handler(event, context):
            return None
        """,
        # made in the decorator, so no module has a name for it
        """
        @batch_processor(record_handler=one, processor=BatchProcessor(event_type=EventType.SQS))
        def handler(event, context):
            return None
        """,
        """
        class App:
            def __init__(self):
                self.processor = BatchProcessor(event_type=EventType.SQS)
            def handle(self, event, context):
                return None
        handler = App().handle
        """,
        """
        class App:
            processor = BatchProcessor(event_type=EventType.SQS)
            @classmethod
            def handle(cls, event, context):
                return None
        handler = App.handle
        """,
        """
        def work(processors, event, context):
            return None
        handler = functools.partial(work, {"a": BatchProcessor(event_type=EventType.SQS)})
        """,
        """
        def make():
            processor = BatchProcessor(event_type=EventType.SQS)
            def handler(event, context):
                return processor
            return handler
        handler = make()
        """,
    ],
)
def test_a_processor_that_outlives_an_invocation_is_found(tmp_path: Path, code: str) -> None:
    found = shared_state(tmp_path, main=code)
    assert found is not None
    assert "Powertools batch processor" in found


def test_a_processor_in_another_module_of_the_users_is_found_and_named(tmp_path: Path) -> None:
    common = "processor = BatchProcessor(event_type=EventType.SQS)"
    main = """
    import common
    def handler(event, context):
        return common.processor
    """
    assert shared_state(tmp_path, common=common, main=main) == "a Powertools batch processor (common.processor)"


def test_a_processor_made_in_the_handler_is_nobody_elses_business(tmp_path: Path) -> None:
    code = """
    settings = {"a": [1, 2, 3]}
    def handler(event, context):
        processor = BatchProcessor(event_type=EventType.SQS)
        return process_partial_response(event=event, record_handler=one, processor=processor, context=context)
    """
    assert shared_state(tmp_path, main=code) is None
