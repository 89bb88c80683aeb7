"""What there is to know of a server before it runs: how to get it, how to start it, and where it differs from AWS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, assert_never

from tests.servers.behaviour import Behaviour, DynamodbBehaviour, KinesisBehaviour, Service

ACCOUNT = "123456789012"
"""The account that every server is made to use. It doubles as the access key id: LocalStack and ministack read the account from there."""
REGION = "eu-west-1"
"""Not the default of any server, so that a forgotten region shows."""


class ServerError(Exception):
    """A test server cannot be had. The message says which, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One replacement in an installed file. `old` must be there exactly once, or the installation fails."""

    file: str
    """Below site-packages, or node_modules."""
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
class NpmPackage:
    """Installed with npm, without running any script of a package. Needs `npm`, and `node` 18 or later."""

    name: str
    version: str
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MavenProject:
    """Built with `mvn package` from a folder of this project, with what it needs beside it in the folder `lib`. Needs `mvn` and `java` (17)."""

    folder: str
    """Of its `pom.xml`, below the project's folder. A changed file in it is a changed recipe."""
    properties: tuple[str, ...] = ()
    """As `name=value`, on top of the `pom.xml`."""


Recipe = PythonPackages | MavenArtifact | NpmPackage | MavenProject


class Installable(Protocol):
    """What the installer must know of a server, or of another program that tests start."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def install(self) -> Recipe | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Installed as the servers are, and no server: tests start as many of them as they want."""

    name: str
    version: str
    install: Recipe
    needs: tuple[str, ...]
    """Commands that must be on the path, to install it or to run it."""


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
    speaks: frozenset[Service]
    install: Recipe | None
    """None: part of the project."""
    needs: tuple[str, ...] = ()
    """Commands that must be on the path, to install it or to run it."""
    installs_on_first_use: bool
    """Small enough that a test run may install it by itself."""
    launch: Callable[[Place], Launch]
    health: str
    """A path that answers `health_status` when the server takes requests."""
    health_status: int = 200
    health_says: str = ""
    """Text that the answer must hold as well."""
    behaviour: Behaviour = field(default_factory=Behaviour)
    """Its queues; of no meaning where it speaks no SQS, and so on."""
    kinesis: KinesisBehaviour = field(default_factory=KinesisBehaviour)
    dynamodb: DynamodbBehaviour = field(default_factory=DynamodbBehaviour)
    notes: tuple[str, ...] = ()
    """Other departures from AWS, for whoever wonders about a red test."""


def behaves(spec: ServerSpec, service: Service, flag: str) -> bool:
    """Whether the server is like AWS in one respect of a service that it speaks."""
    match service:
        case Service.SQS:
            found = getattr(spec.behaviour, flag)
        case Service.KINESIS:
            found = getattr(spec.kinesis, flag)
        case Service.DYNAMODB:
            found = getattr(spec.dynamodb, flag)
        case _:
            assert_never(service)
    return bool(found)


def python_of(home: Path) -> str:
    """The interpreter of an installation of `PythonPackages`.

    Servers are started as `python -m`: console scripts hold the path of the folder that they were installed in, which was another one.
    """
    return str(home / "bin" / "python")
