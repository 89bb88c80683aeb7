"""`worker`: the process itself."""

import re
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from runtime.config import schema
from runtime.config.nodes import Entry, Report
from runtime.config.problems import shown
from runtime.config.reading import Block, read_block

_HIGHEST_PORT: Final = 65_535
_WHERE: Final = "worker"
_SQLITE: Final = "sqlite:///"
_DYNAMODB: Final = "dynamodb://"
MAPPING: Final = "{mapping}"
_TABLE: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_REGION: Final = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")
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
class DynamodbState:
    """Checkpoints and leases in DynamoDB, a table for each mapping."""

    table: str
    """Its name; `{mapping}` stands for that of the mapping."""
    create: bool = True
    """Make a table that is not there, and its index."""
    region: str | None = None
    """None: that of the mapping's source."""

    def table_of(self, mapping: str) -> str:
        return self.table.replace(MAPPING, mapping)


State: TypeAlias = MemoryState | SqliteState | DynamodbState


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What `worker` says, with defaults filled in."""

    id: str
    state: State
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


def read_worker(
    report: Report, entry: Entry | None, new_id: Callable[[], str], *, streams: Collection[str], enabled: Collection[str]
) -> WorkerConfig:
    """Read the block, or give the defaults when there is none. Means something only when nothing was reported.

    `streams`: the names of the mappings of streams, whose positions the state keeps; `enabled`: those that run.
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
        state=_state(part, block, enabled),
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
            "StartingPosition again: use sqlite:///PATH or dynamodb://TABLE to go on where it ended"
        )
        report.warning(block.line_of("state"), message, _WHERE)
    report.take(part, _WHERE)
    return config


def _state(part: Report, block: Block[schema.Worker], mappings: Collection[str]) -> State:
    """`sqlite:///PATH`: the path begins at the root, as in every URL, unless it begins with `./` or `../`."""
    text = block.value.state
    if text == "memory://":
        return MemoryState()
    path = text.removeprefix(_SQLITE)
    if text.startswith(_SQLITE) and path.strip("/") and not path.endswith("/"):
        return SqliteState(path=Path(path if path.startswith(("./", "../")) else f"/{path.lstrip('/')}"))
    forms = "memory://, sqlite:///PATH or dynamodb://TABLE"
    message = f"state is {shown(text)!r}, but it must be {forms}, as in sqlite:///var/lib/esm/state.db"
    if text.startswith(_DYNAMODB):
        try:
            return _dynamodb(text.removeprefix(_DYNAMODB), mappings)
        except _BadState as problem:
            message = str(problem)
    part.problem(block.line_of("state"), message)
    return MemoryState()


class _BadState(ValueError):
    """The text is for the user."""


def _dynamodb(text: str, mappings: Collection[str]) -> DynamodbState:
    """`TABLE?create=false&region=eu-west-1`. Raises _BadState."""
    table, _, query = text.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in ("create", "region"):
            raise _BadState(f"state has the option {shown(name)!r}, but there are create and region, as in ?create=false")
    if options.get("create", "true") not in ("true", "false"):
        raise _BadState(f"state has create={shown(options['create'])}, but it must be true or false")
    region = options.get("region")
    if region is not None and _REGION.fullmatch(region) is None:
        raise _BadState(f"state has region={shown(region)}, but it must be a region, as eu-west-1")
    state = DynamodbState(table=table, create=options.get("create") != "false", region=region)
    for name in sorted(mappings) or ["any"]:
        if _TABLE.fullmatch(state.table_of(name)) is None:
            made = f" for mapping {name}" if MAPPING in table else ""
            rule = "3 to 255 letters, digits, dots, dashes and underscores"
            raise _BadState(f"state names the table {shown(state.table_of(name))!r}{made}, but a table's name has {rule}")
    tables = Counter(map(state.table_of, mappings))
    shared = sorted(name for name in mappings if tables[state.table_of(name)] > 1)
    if shared:
        raise _BadState(
            f"state is one table for the mappings {', '.join(shared)}, but the shards of two streams have the same ids, and KCL "
            f"has a table for each application: put the mapping into its name, as dynamodb://{table}-{MAPPING}"
        )
    return state


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
