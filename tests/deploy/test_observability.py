"""The dashboard and the alerts ask for what the worker really shows."""

from collections import Counter
from typing import Any

import pytest
import yaml

from tests.deploy.shipped import (
    ALERTS,
    DEPLOY,
    Query,
    alert_queries,
    alerts,
    dashboard,
    dashboard_queries,
    known_metrics,
    load_yaml,
    problems,
)

QUERIES = [*dashboard_queries(), *alert_queries()]


@pytest.mark.parametrize("query", QUERIES, ids=[query.where for query in QUERIES])
def test_every_query_asks_for_metrics_and_labels_that_exist(query: Query) -> None:
    assert query.selectors()
    assert problems(query, known_metrics()) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("rate(esm_poled_events_total[5m])", "q: there is no metric esm_poled_events_total"),
        ('esm_mapping_state{status="Enabled"}', "q: esm_mapping_state has no label status"),
        ("sum by (queue) (esm_errors_total)", "q: groups by queue, which nothing there has"),
    ],
)
def test_a_query_for_what_does_not_exist_is_found_out(expression: str, said: str) -> None:
    assert problems(Query(where="q", expression=expression), known_metrics()) == [said]


def test_every_alert_says_who_is_needed_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
    assert max(Counter(rule["alert"] for rule in alerts()).values()) == 1


def test_every_alert_is_seen_firing_and_silent_in_its_unit_test() -> None:
    """`promtool test rules`, which `.ci/check-deploy` calls, runs them."""
    fires: set[str] = set()
    silent: set[str] = set()
    for each in load_yaml(DEPLOY / "prometheus" / "alerts.test.yml")["tests"]:
        for check in each["alert_rule_test"]:
            (fires if check.get("exp_alerts") else silent).add(check["alertname"])
            if len(each["input_series"]) > len(check.get("exp_alerts", ())):
                silent.add(check["alertname"])  # a series of its test does not fire
    names = {rule["alert"] for rule in alerts()}
    assert fires == names
    assert silent == names


def test_prometheus_loads_the_alerts_and_calls_its_job_as_they_do() -> None:
    config = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")
    assert config["rule_files"] == [ALERTS.name]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["esm"]


def test_panels_have_titles_units_and_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        cells = _cells(panel["gridPos"])
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"]


def test_the_dashboard_finds_the_provisioned_data_source() -> None:
    provisioned = load_yaml(DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    scrape = load_yaml(DEPLOY / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert [(source["type"], source["jsonData"]["timeInterval"]) for source in provisioned] == [("prometheus", scrape)]
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    assert set(variables) == {"datasource", "mapping"}
    query = Query(where="variable mapping", expression=variables["mapping"]["definition"])
    assert problems(query, known_metrics()) == []


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_yaml_file_can_be_read_and_has_no_key_twice(path: Any) -> None:
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [loader.construct_object(key) for key, _ in node.value]
        assert len(set(keys)) == len(keys), f"{path}:{node.start_mark.line + 1}"
        loader.flatten_mapping(node)
        return loader.construct_mapping(node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    Strict.add_multi_constructor("!", lambda _, tag, node: (tag, node.value))  # CloudFormation's functions
    assert all(list(yaml.load_all(path.read_text(), Loader=Strict)))  # a SafeLoader


def _cells(place: dict[str, int]) -> set[tuple[int, int]]:
    assert place["x"] + place["w"] <= 24
    return {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
