"""What `deploy/` asks of Prometheus, and what the worker gives it: read from the files and from the telemetry itself."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from runtime.core.mapping import MappingState
from runtime.telemetry import Telemetry

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
ALERTS: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "esm.json"

SCRAPE_LABELS: Final = frozenset({"job", "instance", "le"})
"""What Prometheus adds to every series, and to the buckets of a histogram."""
_OTHERS: Final[dict[str, frozenset[str]]] = {
    "up": frozenset(),
    "process_cpu_seconds_total": frozenset(),
    "process_resident_memory_bytes": frozenset(),
}
"""Made by Prometheus itself, and by its client on Linux alone."""
_SELECTOR: Final = re.compile(r"\b((?:esm|process)_\w+|up)\b(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression, and where it stands."""

    where: str
    expression: str

    def selectors(self) -> list[tuple[str, str]]:
        """Metric name and matchers of every series that it asks for."""
        return [(match[1], match[2] or "") for match in _SELECTOR.finditer(self.expression)]


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def dashboard_queries() -> Iterator[Query]:
    """The queries of all panels, as they are written: with Grafana's variables."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):  # a row has none
            yield Query(where=f"panel {panel['title']} {target['refId']}", expression=target["expr"])


def alerts() -> list[dict[str, Any]]:
    return [rule for group in load_yaml(ALERTS)["groups"] for rule in group["rules"]]


def alert_queries() -> Iterator[Query]:
    for rule in alerts():
        yield Query(where=f"alert {rule['alert']}", expression=rule["expr"])


def known_metrics() -> dict[str, frozenset[str]]:
    """The samples that a worker shows once everything has happened, with their labels."""
    telemetry = Telemetry()
    mapping = telemetry.of_mapping("m", "sqs")
    mapping.request_made("ReceiveMessage", "ok")
    mapping.state_changed(MappingState.ENABLED)
    mapping.watch_ready(lambda: True)
    mapping.watch_shards(iterator_age=float, checkpoint_age=float)
    mapping.watch_shard_state("reading", int)
    mapping.watch_scaling(lag=float, desired=float)
    mapping.lease_changed("taken")
    known = dict(_OTHERS)
    for metric in telemetry.registry.collect():
        for sample in metric.samples:
            known[sample.name] = frozenset(sample.labels)
    return known


def problems(query: Query, known: dict[str, frozenset[str]]) -> list[str]:
    """Metrics and labels of the query that no worker has."""
    found = []
    for name, matchers in query.selectors():
        if name not in known:
            found.append(f"{query.where}: there is no metric {name}")
            continue
        strange = set(_MATCHER.findall(matchers)) - known[name] - SCRAPE_LABELS
        found += [f"{query.where}: {name} has no label {label}" for label in sorted(strange)]
    every = SCRAPE_LABELS.union(*(known.get(name, frozenset()) for name, _ in query.selectors()))
    for labels in _GROUPING.findall(query.expression):
        strange = {label.strip() for label in labels.split(",")} - every
        found += [f"{query.where}: groups by {label}, which nothing there has" for label in sorted(strange)]
    return found
