"""`python -m tests.deploy.live`: what `deploy/` ships, at work. `.ci/check-deploy` calls it where Prometheus is installed.

`esm run` on `deploy/esm.yaml` against `esm endpoint`, traffic from `deploy/traffic.py`, and a real Prometheus that scrapes the
worker every second. Then every query of the dashboard and of the alerts is put to that Prometheus, and must find something.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Self, TypeVar

import yaml

from tests.deploy.shipped import ALERTS, DEPLOY, ROOT, alert_queries, alerts, dashboard_queries, load_yaml

_ACCOUNT: Final = "000000000000"
_ENOUGH: Final = 200
"""Records deleted before anything is judged: ten seconds of the traffic."""
_VARIABLES: Final = {"$mapping": ".*", "$__rate_interval": "30s"}
_FAULTS: Final = (
    {"fault": "access_denied", "operation": "ReceiveMessage", "times": 1},
    {"fault": "throttle", "operation": "ReceiveMessage", "times": 1},
    {"fault": "error503", "operation": "DeleteMessageBatch", "times": 1},
)
"""So that the worker shows requests of every outcome."""


_Found = TypeVar("_Found")


class CheckError(Exception):
    """What is wrong; the message is for the reader of the CI's log."""


@dataclass(frozen=True, slots=True)
class Program:
    """A child process and what it has printed."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    def printed(self, pattern: str) -> str:
        """What the pattern's group matches, once it does; raises CheckError when the program ends first or says nothing."""

        def look() -> str | None:
            if self.process.poll() is not None:
                raise CheckError(f"{self.name} ended with {self.process.returncode}:\n{self.output.read_text()}")
            found = re.search(pattern, self.output.read_text())
            return found[1] if found else None

        return wait_for(f"{self.name} to print {pattern}", look, seconds=30)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL if that does not end it within 40 seconds; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The HTTP API of a running server."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        answer = json.loads(fetch(f"{self.url}/api/v1/{path}{query}"))
        if answer["status"] != "success":
            raise CheckError(f"{path} {parameters}: {answer}")
        return answer["data"]

    def values(self, expression: str) -> list[float]:
        return [float(series["value"][1]) for series in self.ask("query", query=expression)["result"]]

    def total(self, expression: str) -> float:
        return sum(self.values(expression))


def wait_for(what: str, look: Callable[[], _Found | None], *, seconds: float) -> _Found:
    """The first thing that `look` gives that is neither None nor False; raises CheckError when it gives none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.2)
    raise CheckError(f"waited {seconds:.0f} s in vain for {what}")


def fetch(url: str, body: Any = None) -> str:
    """The page; with a body, a POST of it as JSON. An error answer of Prometheus tells what is wrong with a query: it is read."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310  # loopback
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        text = error.read().decode()
    return text


class Stage:
    """Where the programs run; leaving the block stops them, last first."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.folder = Path()

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="esm-check-deploy-")))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, name: str, *command: str | Path, **environ: str) -> Program:
        return self._stack.enter_context(self._running(name, command, environment(**environ)))

    @contextmanager
    def _running(self, name: str, command: Sequence[str | Path], environ: Mapping[str, str]) -> Iterator[Program]:
        output = self.folder / f"{name}.log"
        with output.open("wb") as file:
            process = subprocess.Popen(command, cwd=self.folder, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        program = Program(name, process, output)
        try:
            yield program
        finally:
            if process.poll() is None:
                program.stop()


def promtool(*arguments: str | Path, given: str | None = None) -> None:
    """Raises CheckError with what promtool says, if it says anything against it."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)
    said = (done.stdout + done.stderr).strip()
    if done.returncode != 0 or (given is not None and said):
        raise CheckError(f"promtool {' '.join(map(str, arguments[:2]))}: {said}")


def environment(**more: str) -> dict[str, str]:
    """Nothing of the machine's own AWS settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    aws = {"AWS_ACCESS_KEY_ID": _ACCOUNT, "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    # One attempt, so that the faults reach the worker and are not repeated away by the SDK.
    return kept | aws | files | {"AWS_MAX_ATTEMPTS": "1", "PYTHONPATH": str(ROOT)} | more


def prometheus_config(folder: Path, target: str) -> Path:
    """The shipped file, but with one fixed target, and faster."""
    config = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ALERTS)]
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [target]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_files() -> None:
    folder = DEPLOY / "prometheus"
    promtool("check", "config", folder / "prometheus.yml")
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", folder / "alerts.test.yml")
    say(f"promtool: configuration, {len(alerts())} alerts and their unit tests are right")


def check_dashboard(prometheus: Prometheus) -> None:
    """Every query of every panel must give a number. Counters begin at 0, so one that never moved gives 0 and not nothing."""
    wrong = []
    queries = list(dashboard_queries())
    for query in queries:
        expression = query.expression
        for variable, value in _VARIABLES.items():
            expression = expression.replace(variable, value)
        values = prometheus.values(expression)
        if not values or not all(map(math.isfinite, values)):
            wrong.append(f"{query.where}: {values} for {expression}")
    if wrong:
        raise CheckError("\n".join(wrong))
    say(f"dashboard: all {len(queries)} queries give numbers")


def check_alerts(prometheus: Prometheus) -> None:
    """Prometheus evaluates every alert without an error, and every series that one asks for exists."""
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    wrong = [f"alert {rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"]
    if len(rules) != len(alerts()):
        wrong.append(f"{len(alerts())} alerts are shipped, but Prometheus has {len(rules)}")
    for query in alert_queries():
        for name, matchers in query.selectors():
            if not prometheus.values(f"{name}{{{matchers}}}"):
                wrong.append(f"{query.where}: nothing matches {name}{{{matchers}}}")
    if wrong:
        raise CheckError("\n".join(wrong))
    say(f"alerts: all {len(rules)} are evaluated, and every series that they ask for exists")


def check_figures(prometheus: Prometheus, worker_url: str) -> None:
    """With no more traffic, Prometheus and the worker's own page come to the same totals."""

    def same() -> bool:
        page = totals(fetch(f"{worker_url}/metrics"))
        return page == {name: prometheus.total(name) for name in page}

    wait_for("Prometheus to have the worker's own figures", same, seconds=60)
    polled, deleted = (prometheus.total(f"esm_{what}_events_total") for what in ("polled", "deleted"))
    say(f"figures: Prometheus has the worker's own; {polled:.0f} records polled, {deleted:.0f} deleted")


def totals(page: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(esm_\w+_total)\{.*\} (\S+)$", page, re.MULTILINE):
        found[name] = found.get(name, 0.0) + float(value)
    return found


def check_stop(prometheus: Prometheus, worker: Program) -> None:
    if (code := worker.stop()) != 0:
        raise CheckError(f"the worker ended with {code} after SIGTERM:\n{worker.output.read_text()}")

    def pending() -> bool:
        return any(alert["labels"]["alertname"] == "EsmWorkerDown" for alert in prometheus.ask("alerts")["alerts"])

    wait_for("EsmWorkerDown to be pending", pending, seconds=20)
    say("stop: the worker drained and ended with 0, and EsmWorkerDown is pending")


def start_worker(stage: Stage, endpoint_url: str) -> tuple[Program, str]:
    """The worker on the shipped configuration, and the host and port of its pages."""
    command = (sys.executable, "-m", "runtime", "run", "-c", DEPLOY / "esm.yaml")
    worker = stage.start("worker", *command, AWS_ENDPOINT_URL=endpoint_url, ESM_HTTP="127.0.0.1:0")
    port = worker.printed(r'"http": (\d+)')
    return worker, f"127.0.0.1:{port}"


def start_prometheus(stage: Stage, target: str) -> Prometheus:
    port = free_port()
    server = stage.start(
        "prometheus",
        "prometheus",
        f"--config.file={prometheus_config(stage.folder, target)}",
        f"--storage.tsdb.path={stage.folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    server.printed(r"(Server is ready to receive web requests)")
    return Prometheus(f"http://127.0.0.1:{port}")


def check_live(stage: Stage) -> None:
    endpoint = stage.start("endpoint", sys.executable, "-m", "runtime", "endpoint", "--port", "0")
    url = endpoint.printed(r"AWS_ENDPOINT_URL=(\S+)")
    traffic = stage.start("traffic", sys.executable, DEPLOY / "traffic.py", AWS_ENDPOINT_URL=url)
    traffic.printed(r"sending to (\S+)")
    worker, target = start_worker(stage, url)
    prometheus = start_prometheus(stage, target)
    for fault in _FAULTS:
        fetch(f"{url}/_local/faults", fault)
    deleted = "sum(esm_deleted_events_total)"
    wait_for(f"{_ENOUGH} deleted records", lambda: prometheus.total(deleted) >= _ENOUGH, seconds=90)
    say(f"a real Prometheus scrapes a real worker: {prometheus.total(deleted):.0f} records deleted")
    promtool("check", "metrics", given=fetch(f"http://{target}/metrics"))
    say("promtool: the worker's page is right")
    check_dashboard(prometheus)
    check_alerts(prometheus)
    traffic.stop()
    check_figures(prometheus, f"http://{target}")
    check_stop(prometheus, worker)


def end_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(f"ended by {signal.Signals(number).name}")  # leaves the blocks, which stops the programs


def main() -> int:
    signal.signal(signal.SIGTERM, end_on_signal)
    try:
        check_files()
        with Stage() as stage:
            check_live(stage)
    except CheckError as error:
        sys.stderr.write(f"check-deploy: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
