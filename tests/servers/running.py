"""Starts servers as child processes on loopback, waits until they answer, and stops them."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.servers.behaviour import Behaviour, DynamodbBehaviour, KinesisBehaviour, Service
from tests.servers.catalogue import SERVERS
from tests.servers.install import home_of, is_installed
from tests.servers.spec import ACCOUNT, REGION, Launch, Place, ServerError, ServerSpec

START_SECONDS = 60.0
"""For a machine that does much else; the slowest takes four on an idle one."""
STOP_SECONDS = 10.0

_INHERITED = ("PATH", "LANG", "JAVA_HOME", "COVERAGE_PROCESS_START")


class ServerNotInstalled(ServerError):
    """A selected server is not on this machine."""


class ServerDidNotStart(ServerError):
    """A server ended or kept silent; the message ends with the last lines of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server, and the credentials that it takes."""

    name: str
    version: str
    endpoint_url: str
    region: str
    access_key: str
    secret_key: str
    speaks: frozenset[Service]
    behaviour: Behaviour
    """Of its queues."""
    kinesis: KinesisBehaviour
    dynamodb: DynamodbBehaviour
    notes: tuple[str, ...]
    output: Path
    """What it has printed."""

    def queue_url(self, arn: str) -> str:
        """The URL of a queue as the product builds it: endpoint, account, name."""
        _, _, _, _, account, name = arn.split(":")
        return f"{self.endpoint_url}/{account}/{name}"

    def environment(self) -> dict[str, str]:
        """What makes any AWS client in a child process talk to this server and to nobody else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


class RunningServers:
    """The servers of one test session: each starts when it is first asked for and runs until the end of the `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._exits = ExitStack()
        self._servers: dict[str, Server | ServerError] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def get(self, name: str) -> Server:
        """Raises `ServerError`; for a server that failed once, the same error again without another try."""
        found = self._servers.get(name)
        if found is None:
            try:
                found = self._exits.enter_context(running(SERVERS[name], self._folder / name))
            except ServerError as error:
                found = error
            self._servers[name] = found
        if isinstance(found, ServerError):
            raise found
        return found


@contextmanager
def running(spec: ServerSpec, folder: Path, *, port: int | None = None) -> Iterator[Server]:
    """A server of one's own, for a test that wants to see it go away and come back.

    `folder` is made, and must not be there. `port`: a free one unless given. Raises `ServerError`.
    """
    if not is_installed(spec):
        raise ServerNotInstalled(
            f"{spec.name} {spec.version} was selected and is not installed: run python -m tests.servers install {spec.name}"
        )
    folder.mkdir(parents=True)
    place = Place(home=home_of(spec), folder=folder, port=free_port() if port is None else port)
    output = folder / "output.log"
    with _child(spec.launch(place), place, output) as child:
        _wait_until_ready(spec, child, port=place.port, output=output)
        yield Server(
            name=spec.name,
            version=spec.version,
            endpoint_url=f"http://127.0.0.1:{place.port}",
            region=REGION,
            access_key=ACCOUNT,
            secret_key="made-up",
            speaks=spec.speaks,
            behaviour=spec.behaviour,
            kinesis=spec.kinesis,
            dynamodb=spec.dynamodb,
            notes=spec.notes,
            output=output,
        )


@contextmanager
def _child(launch: Launch, place: Place, output: Path) -> "Iterator[subprocess.Popen[bytes]]":
    for name, content in launch.files.items():
        (place.folder / name).write_text(content)
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # TEMP rather than TMPDIR, about which LocalStack complains.
    environment |= {"HOME": str(place.folder), "TEMP": str(place.folder), "PYTHONUNBUFFERED": "1", **launch.environment}
    with output.open("wb") as file:
        try:
            child = subprocess.Popen(
                launch.command,
                cwd=place.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests, which still need the server while they end
            )
        except FileNotFoundError as error:
            raise ServerDidNotStart(f"{launch.command[0]} is needed and not there") from error
    try:
        yield child
    finally:
        stop(child)


def stop(child: "subprocess.Popen[bytes]", *, patience: float = STOP_SECONDS) -> None:
    """SIGTERM, and SIGKILL if it is still there after `patience` seconds. Comes back when the process is gone."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_until_ready(spec: ServerSpec, child: "subprocess.Popen[bytes]", *, port: int, output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(spec, port):
        status = child.poll()
        if status is not None:
            raise ServerDidNotStart(f"{spec.name} ended with status {status} before it was ready\n{_tail(output)}")
        if time.monotonic() > deadline:
            raise ServerDidNotStart(f"{spec.name} was not ready after {START_SECONDS:g} s\n{_tail(output)}")
        time.sleep(0.05)


def _is_ready(spec: ServerSpec, port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", spec.health)
        answer = connection.getresponse()
        return answer.status == spec.health_status and spec.health_says in answer.read().decode()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(output: Path) -> str:
    lines = output.read_text(errors="replace").splitlines()[-30:]
    return "\n".join([f"the end of {output}:", *(lines or ["(nothing)"])])


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
