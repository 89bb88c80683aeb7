"""`worker`: the process itself."""

import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Final, Literal

from runtime.config import schema
from runtime.config.nodes import Entry, Report
from runtime.config.problems import shown
from runtime.config.reading import Block, read_block

_HIGHEST_PORT: Final = 65_535
_WHERE: Final = "worker"
_SQLITE: Final = "sqlite:///"
_LONG_POLL: Final = 20
"""Seconds (SQS-30)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryState:
    """Checkpoints and leases end with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqliteState:
    """Checkpoints and leases in a file."""

    path: Path
    """Absolute, or relative to the working directory of the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What `worker` says, with defaults filled in."""

    id: str
    state: MemoryState | SqliteState
    http_host: str
    """Without brackets."""
    http_port: int
    """0 lets the system choose."""
    client: Literal["lean", "sdk"]
    """How hot requests to AWS are made."""
    grace: int
    """Seconds to drain."""
    on_destination_failure: Literal["drop", "block"]
    failover: float
    """Seconds until a lease whose owner is silent may be taken."""
    watchdog: int
    """Seconds without a sign of life after which a shard is restarted."""
    log_format: Literal["auto", "console", "json"]
    log_level: Literal["debug", "info", "warning", "error"]


def new_worker_id() -> str:
    """Host name and a random suffix: no two workers share it, also not two on one machine."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def read_worker(report: Report, entry: Entry | None, new_id: Callable[[], str], *, streams: bool) -> WorkerConfig:
    """Read the block, or give the defaults when there is none. Means something only when nothing was reported.

    `streams`: there are mappings of streams, whose positions the state keeps.
    """
    part = report.part()
    if entry is None:
        block: Block[schema.Worker] = Block(value=schema.Worker(), line=1, lines={}, bad=frozenset())
    else:
        block = read_block(part, entry, schema.Worker, name=_WHERE)
    worker = block.value
    host, port = _address(part, block)
    config = WorkerConfig(
        id=worker.id or new_id(),
        state=_state(part, block),
        http_host=host,
        http_port=port,
        client=worker.client,
        grace=worker.grace,
        on_destination_failure=worker.on_destination_failure,
        failover=worker.failover,
        watchdog=worker.watchdog,
        log_format=worker.log.format,
        log_level=worker.log.level,
    )
    if config.grace < _LONG_POLL:
        message = f"grace is {config.grace}, but an open long poll takes up to {_LONG_POLL} seconds: stopping an idle worker cuts"
        part.warning(block.line_of("grace"), f"{message} it off, and what it would have brought stays hidden for a while")
    if streams and isinstance(config.state, MemoryState):
        message = (
            "state is memory://, so the positions of stream mappings end with the process and the next one begins at "
            "StartingPosition again: use sqlite:///PATH to go on where it ended"
        )
        report.warning(block.line_of("state"), message, _WHERE)
    report.take(part, _WHERE)
    return config


def _state(part: Report, block: Block[schema.Worker]) -> MemoryState | SqliteState:
    """`sqlite:///PATH`: the path begins at the root, as in every URL, unless it begins with `./` or `../`."""
    text = block.value.state
    if text == "memory://":
        return MemoryState()
    path = text.removeprefix(_SQLITE)
    if text.startswith(_SQLITE) and path.strip("/") and not path.endswith("/"):
        return SqliteState(path=Path(path if path.startswith(("./", "../")) else f"/{path.lstrip('/')}"))
    if text.startswith("dynamodb://"):
        message = "state in DynamoDB is not supported yet: use sqlite:///PATH or memory://"
    else:
        message = f"state is {shown(text)!r}, but it must be memory:// or sqlite:///PATH, as in sqlite:///var/lib/esm/state.db"
    part.problem(block.line_of("state"), message)
    return MemoryState()


def _address(part: Report, block: Block[schema.Worker]) -> tuple[str, int]:
    host, _, port = block.value.http.rpartition(":")  # the schema has seen to the shape
    bare = host.strip("[]")
    if int(port) > _HIGHEST_PORT:
        part.problem(block.line_of("http"), f"http has the port {port}, but {_HIGHEST_PORT} is the highest: take a lower one")
    if host != bare and not _is_ipv6(bare):
        part.problem(block.line_of("http"), f"http has {host} for a host, but brackets are for IPv6 addresses, as in [::1]:9090")
    return bare, int(port)


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
