"""How log lines look: colours on a terminal, one JSON object a line elsewhere (INTERFACE: Logs).

Lines of the standard library's `logging` (handlers use it, so do the AWS libraries) come out in the same form.
"""

import logging
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structlog.typing import Processor

_QUIET: Final = ("aiobotocore", "botocore", "asyncio", "aiohttp", "urllib3")
"""Libraries that tell little above DEBUG and too much below."""


def load_structlog(*, console: bool) -> None:
    """Import structlog, before anybody else does; without rich where no tracebacks are drawn on a terminal.

    It imports rich whenever that is installed, and with it a tenth of all that a worker loads.
    """
    if console or "structlog" in sys.modules or "rich" in sys.modules:
        import_module("structlog")
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # "not installed", in the words of the import system
    try:
        import_module("structlog")
    finally:
        del sys.modules["rich"]


def configure_logs(*, log_format: str, level: str) -> None:
    """`log_format`: auto, console or json; `level`: debug, info, warning or error. To stderr."""
    number = logging.getLevelNamesMapping()[level.upper()]
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    load_structlog(console=console)
    import structlog  # noqa: PLC0415  # loaded by now

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
