"""A site whose worker reads streams: its mappings, what its handlers saw, and the leases in its state file.

The state is in `state.db` beside `esm.yaml`; the name of a worker is that of its environment variable WORKER, so that any number
of processes may run on one site:

    site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("clicks", stream_arn("clicks"))])
    async with process_on(site, aws.endpoint.url, WORKER="one") as worker:
        await wait_seen(site, 10)
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.acceptance.worker_process import CODE, Site, WorkerProcess, wait_until

FAILOVER: Final = 2
"""Seconds."""
ROUND: Final = FAILOVER / 3
_OPEN: Final = "file:{path}?mode=ro"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One line of the journal: what a handler did with one record, and when (monotonic seconds of this machine)."""

    what: str
    call: str
    at: float
    worker: str
    function: str
    id: str
    text: str
    key: str
    shard: str
    """Empty for records of tables, whose events do not name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One lease, as the state file has it."""

    mapping: str
    shard: str
    checkpoint: str
    owner: str | None
    window: str | None


def stream_function(handler: str, **parameters: Any) -> dict[str, Any]:
    """A function of `functions/stream_acts.py`."""
    return {"Handler": f"stream_acts.{handler}", "CodeUri": str(CODE), "Timeout": 30, **parameters}


def stream_mapping(name: str, arn: str, *, function: str = "f", **parameters: Any) -> dict[str, Any]:
    return {"name": name, "FunctionName": function, "EventSourceArn": arn, "StartingPosition": "TRIM_HORIZON", **parameters}


def on_failure(destination: str) -> dict[str, Any]:
    """A DestinationConfig."""
    return {"OnFailure": {"Destination": destination}}


def stream_site(
    folder: Path,
    functions: Mapping[str, Any],
    mappings: Sequence[Mapping[str, Any]],
    *,
    grace: int = 20,
    failover: float = FAILOVER,
    **worker: Any,
) -> Site:
    """`worker`: more of that block."""
    site = Site(folder)
    settings = {"id": "${WORKER:-}", "failover": failover, "state": "sqlite:///./state.db", **worker}
    site.write_config(functions, mappings, grace=grace, **settings)
    return site


def seen(site: Site, what: str = "ended") -> list[Seen]:
    """What the handlers did with records, in the order in which they wrote it down."""
    return [Seen(**line) for line in _lines(site) if line.get("what") == what]


def windows(site: Site) -> list[dict[str, Any]]:
    """What `sums` wrote down at the end of each tumbling window."""
    return [line["window"] for line in _lines(site) if "window" in line]


def _lines(site: Site) -> list[dict[str, Any]]:
    """A line that is not finished yet is left out."""
    if not site.journal_file.exists():
        return []
    text = site.journal_file.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def texts(site: Site, what: str = "ended") -> list[str]:
    return [each.text for each in seen(site, what)]


async def wait_seen(site: Site, count: int, *workers: WorkerProcess, what: str = "ended", seconds: float = 30.0) -> None:
    """Wait until so many different records were seen."""

    def enough() -> bool:
        return len({each.id for each in seen(site, what)}) >= count

    try:
        await wait_until(enough, f"{count} records seen", seconds=seconds)
    except AssertionError as error:
        found = len({each.id for each in seen(site, what)})
        logs = "\n".join(worker.log_text() for worker in workers)
        raise AssertionError(f"{error}: {found} so far\n{logs}") from None


def rows(site: Site) -> list[Row]:
    """The leases, by mapping and shard; none before there is a state file."""
    path = site.folder / "state.db"
    if not path.exists():
        return []
    query = 'SELECT scope, shard, checkpoint, owner, "window" FROM leases ORDER BY scope, shard'
    try:
        with closing(sqlite3.connect(_OPEN.format(path=path), uri=True)) as connection:
            found = connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # it is being made just now
        return []
    return [
        Row(mapping=scope.partition(" ")[0], shard=shard, checkpoint=checkpoint, owner=owner, window=window)
        for scope, shard, checkpoint, owner, window in found
    ]


def checkpoints(site: Site, mapping: str) -> dict[str, str]:
    """By shard."""
    return {row.shard: row.checkpoint for row in rows(site) if row.mapping == mapping}


def owned(site: Site) -> dict[str, int]:
    """How many shards that have not ended each worker has, by its name; None of those without an owner."""
    counts: dict[str, int] = {}
    for row in rows(site):
        if row.checkpoint != "SHARD_END":
            counts[row.owner or ""] = counts.get(row.owner or "", 0) + 1
    return counts


def first_sights(site: Site, what: str = "ended") -> list[Seen]:
    """Each record the first time that it was seen."""
    by_id: dict[str, Seen] = {}
    for each in seen(site, what):
        by_id.setdefault(each.id, each)
    return list(by_id.values())


def assert_in_order(site: Site, sent: Mapping[str, Sequence[str]], what: str = "ended") -> None:
    """Every key's records were seen, first in the order in which they were put (COM-61, COM-68)."""
    found: dict[str, list[str]] = {}
    for each in first_sights(site, what):
        found.setdefault(each.key, []).append(each.text)
    for key, put in sent.items():
        assert found.get(key) == list(put), key
    assert found.keys() == sent.keys()
