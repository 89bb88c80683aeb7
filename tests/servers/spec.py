"""What there is to know of a server before it runs: how to get it, how to start it, and where it differs from AWS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

ACCOUNT = "123456789012"
"""The account that every server is made to use. It doubles as the access key id: LocalStack and ministack read the account from there."""
REGION = "eu-west-1"
"""Not the default of any server, so that a forgotten region shows."""


class ServerError(Exception):
    """A test server cannot be had. The message says which, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How SQS behaves on a server. The defaults are AWS's behaviour; a row of the catalogue names only where its server departs from it."""

    fifo_ok: bool = True
    """FIFO queues keep the order of a group over redelivery, and a group that is being worked on is not given to a second receiver."""
    gives_earlier_while_later_in_flight: bool = True
    """A record of a FIFO group that was given back comes again though a later one of its group is still in flight.

    The developer guide reads as if the group stayed closed; `runtime/local/order.py` follows what was recorded from AWS.
    """
    expires_fifo_handles: bool = True
    """A FIFO record cannot be deleted any more once its visibility timeout is over."""
    increasing_sequence_numbers: bool = True
    """SequenceNumber grows within a FIFO queue."""
    stale_delete_keeps: bool = True
    """Deleting with the handle of an earlier receive leaves the record in the queue, whether it answers an error or not."""
    second_delete_ok: bool = True
    """Deleting what is already deleted, with the same handle, answers success."""
    reports_not_inflight: bool = True
    """ChangeMessageVisibility of a record that is visible again answers MessageNotInflight."""
    checks_visibility_limit: bool = True
    """A VisibilityTimeout over 43,200 is refused."""
    long_poll_waits_on_redrive: bool = True
    """A long poll that moves a record to the dead-letter queue goes on waiting instead of answering at once with nothing."""
    exact_visibility: bool = True
    """Visibility timeouts and delays end on time rather than at the next tick of a coarse timer."""
    visibility_slack_seconds: float = 0.5
    """How much later than its timeout a record may be seen again."""


def flag_names() -> frozenset[str]:
    """The yes-or-no questions that a test can ask of a server."""
    return frozenset(f.name for f in fields(Behaviour) if f.type is bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One replacement in an installed file. `old` must be there exactly once, or the installation fails."""

    file: str
    """Below site-packages."""
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonPackages:
    """Installed with pip into a virtual environment of the server's own."""

    requirements: tuple[str, ...]
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MavenArtifact:
    """Fetched with `mvn`, together with what it needs, into the folder `lib`. Needs `mvn` and `java` (17)."""

    group: str
    artifact: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server runs."""

    home: Path
    """Its installation; for a server that is part of the project, the project's folder."""
    folder: Path
    """An empty folder of this one run: its working directory, home and place for temporary files."""
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside PATH, HOME and the like, which every server gets; nothing else is inherited."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Name -> content; written into the folder of the run beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    name: str
    version: str
    install: PythonPackages | MavenArtifact | None
    """None: part of the project."""
    installs_on_first_use: bool
    """Small enough that a test run may install it by itself."""
    launch: Callable[[Place], Launch]
    health: str
    """A path that answers 200 when the server takes requests."""
    health_says: str = ""
    """Text that the answer must hold as well."""
    behaviour: Behaviour = field(default_factory=Behaviour)
    notes: tuple[str, ...] = ()
    """Other departures from AWS, for whoever wonders about a red test."""


def python_of(home: Path) -> str:
    """The interpreter of an installation of `PythonPackages`.

    Servers are started as `python -m`: console scripts hold the path of the folder that they were installed in, which was another one.
    """
    return str(home / "bin" / "python")
