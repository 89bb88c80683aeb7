"""`python -m tests.deploy.live`: what `deploy/` ships, at work. `.ci/check-deploy` calls it where Prometheus is installed.

Two `esm run` on `deploy/esm.yaml`, which share one state file, against `esm endpoint`, traffic from `deploy/traffic.py`, and a real
Prometheus that scrapes both workers every second. Then every query of the dashboard and of the alerts is put to that Prometheus,
and must find something.
"""

import json
import math
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import yaml

from tests.deploy.manifests import check_ecs, check_kubernetes
from tests.deploy.programs import CheckError, Program, Prometheus, Stage, fetch, free_port, promtool, wait_for
from tests.deploy.shipped import ALERTS, DEPLOY, alert_queries, alerts, dashboard_queries, load_yaml

_ENOUGH: Final = 200
"""Records deleted before anything is judged: ten seconds of the traffic."""
_SHARDS: Final = 4
"""Of the traffic's stream."""
_VARIABLES: Final = {"$mapping": ".*", "$__rate_interval": "30s"}
_FAULTS: Final = (
    {"fault": "access_denied", "operation": "ReceiveMessage", "times": 1},
    {"fault": "throttle", "operation": "ReceiveMessage", "times": 1},
    {"fault": "error503", "operation": "DeleteMessageBatch", "times": 1},
    {"fault": "throttle", "service": "kinesis", "operation": "GetRecords", "times": 1},
    {"fault": "error500", "service": "kinesis", "operation": "GetRecords", "times": 1},
    # All tries of one delivery, so that its records are dropped.
    {"fault": "error503", "operation": "SendMessage", "times": 3},
)
"""So that the workers show requests of every outcome, and a destination that refuses."""
_STREAM: Final = (
    "sum(esm_on_failure_destination_delivered_events_total)",
    "sum(esm_dropped_events_total)",
    "sum(esm_destination_delivery_failures_total)",
    'sum(esm_aws_requests_total{operation="GetRecords", outcome="throttled"})',
    'sum(esm_aws_requests_total{operation="GetRecords", outcome="error"})',
)
"""What the traffic's poison and the faults bring about."""
_HELD: Final = 'sum(esm_shards{state=~"reading|blocked", instance="%s"})'
_LOST: Final = 'sum(esm_lease_changes_total{change="lost"})'
_MOVING: Final = frozenset({"esm_aws_requests_total"})
"""A shard without records is asked each second."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One `esm run`, and the host and port of its pages."""

    program: Program
    target: str

    def held(self, prometheus: Prometheus) -> float:
        return prometheus.total(_HELD % self.target)


def prometheus_config(folder: Path, targets: Sequence[str]) -> Path:
    """The shipped file, but with fixed targets, and faster."""
    config = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(ALERTS)]
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def check_files() -> None:
    folder = DEPLOY / "prometheus"
    promtool("check", "config", folder / "prometheus.yml")
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", folder / "alerts.test.yml")
    say(f"promtool: configuration, {len(alerts())} alerts and their unit tests are right")
    say(f"kubectl and schemas: {check_kubernetes()}")
    check_ecs()
    say("cfn-lint: the template is right")


def check_streams(prometheus: Prometheus) -> None:
    """Poison clicks reach the destination, or are dropped when it refuses; the shards move on."""

    def still() -> list[str]:
        return [expression for expression in _STREAM if not prometheus.total(expression)]

    wait_for(f"all of {_STREAM} to move", lambda: not still(), seconds=90)
    told, dropped = (prometheus.total(expression) for expression in _STREAM[:2])
    say(f"streams: {told:.0f} records went to the destination, {dropped:.0f} were dropped when it refused")


def check_sharing(prometheus: Prometheus, first: Worker, second: Worker) -> None:
    """The workers share the shards; one that is silent loses its own to the other, notices it, and gets a share again."""

    def shared() -> bool:
        held = [worker.held(prometheus) for worker in (first, second)]
        return sum(held) == _SHARDS and min(held) > 0

    def noticed() -> bool:
        with paused(second.program):
            wait_for("the other worker to take the shards", lambda: first.held(prometheus) == _SHARDS, seconds=30)
        wait_for("the shards to be shared again", shared, seconds=30)
        return prometheus.total(_LOST) > 0

    wait_for("both workers to hold shards", shared, seconds=30)
    wait_for("a worker to lose its leases", noticed, seconds=60)
    say(f"sharing: {_SHARDS} shards on two workers; one was silent and lost {prometheus.total(_LOST):.0f} leases to the other")


@contextmanager
def paused(program: Program) -> Iterator[None]:
    """It does nothing at all until the block ends."""
    program.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        program.process.send_signal(signal.SIGCONT)


def check_scaling(prometheus: Prometheus, workers: Sequence[Worker]) -> None:
    """What the ScaledObjects ask for is one number, and the same from Prometheus as from the workers' pages."""
    keda = DEPLOY / "kubernetes" / "components"
    (trigger,) = load_yaml(keda / "keda" / "scaledobject.yaml")["spec"]["triggers"]
    of_pods = load_yaml(keda / "keda-without-prometheus" / "triggers.yaml")[0]["value"]

    def agree() -> tuple[float, float] | None:
        asked = prometheus.values(trigger["metadata"]["query"])
        pages = "".join(fetch(f"http://{worker.target}/metrics") for worker in workers)
        told = max(sum(_gauges(pages, each["metadata"]["valueLocation"])) for each in of_pods)
        # The lag of a worker is not to move the number of workers in the meantime, so they are nearly idle here.
        return (asked[0], told) if len(asked) == 1 and 0 < told < len(workers) and abs(asked[0] - told) < 0.1 else None

    asked, told = wait_for("Prometheus to want as many workers as the workers tell", agree, seconds=60)
    say(f"scaling: {asked:.2f} workers are wanted by the query of the ScaledObject, {told:.2f} by the pages of the workers")


def _gauges(page: str, selector: str) -> list[float]:
    name, label, value = re.fullmatch(r'(\w+)\{(\w+)="([^"]*)"\}', selector).groups()  # type: ignore[union-attr]  # as the unit test has it
    return [float(found) for found in re.findall(rf'^{name}\{{[^}}]*{label}="{value}"[^}}]*\}} (\S+)$', page, re.MULTILINE)]


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
    pending = {alert["labels"]["alertname"] for alert in prometheus.ask("alerts")["alerts"]}
    if missing := {"EsmRecordsDropped", "EsmDestinationFailing"} - pending:
        wrong.append(f"records were dropped, but there is no {' and no '.join(sorted(missing))}")
    if wrong:
        raise CheckError("\n".join(wrong))
    say(f"alerts: all {len(rules)} are evaluated, every series that they ask for exists, and what was dropped is told")


def check_figures(prometheus: Prometheus, workers: Sequence[Worker]) -> None:
    """With no more traffic, Prometheus and the workers' own pages come to the same totals."""

    def same() -> bool:
        page = totals("".join(fetch(f"http://{worker.target}/metrics") for worker in workers))
        return page == {name: prometheus.total(name) for name in page}

    wait_for("Prometheus to have the workers' own figures", same, seconds=60)
    polled, deleted = (prometheus.total(f"esm_{what}_events_total") for what in ("polled", "deleted"))
    say(f"figures: Prometheus has the workers' own; {polled:.0f} records polled, {deleted:.0f} deleted")


def totals(page: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(esm_\w+_total)\{.*\} (\S+)$", page, re.MULTILINE):
        if name not in _MOVING:
            found[name] = found.get(name, 0.0) + float(value)
    return found


def check_stop(prometheus: Prometheus, last: Worker, other: Worker) -> None:
    """What a worker hands over when it stops is taken at once, long before the failover time."""
    stop(other)
    wait_for("the last worker to hold all shards", lambda: last.held(prometheus) == _SHARDS, seconds=8)
    stop(last)

    def pending() -> bool:
        told = [alert["labels"] for alert in prometheus.ask("alerts")["alerts"]]
        down = {labels["instance"] for labels in told if labels["alertname"] == "EsmWorkerDown"}
        return down == {last.target, other.target}

    wait_for("EsmWorkerDown to be pending", pending, seconds=20)
    say("stop: the workers drained and ended with 0, the last one took all shards, and EsmWorkerDown is pending")


def stop(worker: Worker) -> None:
    if (code := worker.program.stop()) != 0:
        raise CheckError(f"{worker.program.name} ended with {code} after SIGTERM:\n{worker.program.output.read_text()}")


def start_worker(stage: Stage, name: str, endpoint_url: str) -> Worker:
    """On the shipped configuration, with the state in the stage's folder."""
    command = (sys.executable, "-m", "runtime", "run", "-c", DEPLOY / "esm.yaml")
    state = f"sqlite://{stage.folder / 'state.db'}"
    program = stage.start(name, *command, AWS_ENDPOINT_URL=endpoint_url, ESM_HTTP="127.0.0.1:0", ESM_STATE=state)
    port = program.printed(r'"http": (\d+)')
    return Worker(program, f"127.0.0.1:{port}")


def start_prometheus(stage: Stage, targets: Sequence[str]) -> Prometheus:
    port = free_port()
    server = stage.start(
        "prometheus",
        "prometheus",
        f"--config.file={prometheus_config(stage.folder, targets)}",
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
    first, second = (start_worker(stage, name, url) for name in ("worker-1", "worker-2"))
    prometheus = start_prometheus(stage, [first.target, second.target])
    wait_for("both workers to be scraped", lambda: prometheus.total("up") >= 2, seconds=30)
    for fault in _FAULTS:  # not before: Prometheus sees only what changes from then on
        if "error" in (answer := json.loads(fetch(f"{url}/_local/faults", fault))):
            raise CheckError(f"{fault}: {answer}")
    deleted = "sum(esm_deleted_events_total)"
    wait_for(f"{_ENOUGH} deleted records", lambda: prometheus.total(deleted) >= _ENOUGH, seconds=90)
    say(f"a real Prometheus scrapes two real workers: {prometheus.total(deleted):.0f} records deleted")
    check_streams(prometheus)
    check_sharing(prometheus, first, second)
    promtool("check", "metrics", given=fetch(f"http://{first.target}/metrics"))
    say("promtool: the worker's page is right")
    check_scaling(prometheus, (first, second))
    check_dashboard(prometheus)
    check_alerts(prometheus)
    traffic.stop()
    check_figures(prometheus, (first, second))
    check_stop(prometheus, first, second)


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
