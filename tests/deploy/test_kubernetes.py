"""The Kubernetes files fit each other, the image, the configuration and the metrics. `.ci/check-deploy` validates them by their schemas."""

import re
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from pollers.record import TRIM_HORIZON
from runtime.config import Config, load_config
from runtime.config.worker import DynamodbState
from runtime.core.fleet_plan import plan_assignments
from runtime.core.lease import Lease
from tests.deploy.shipped import DEPLOY, ROOT, Query, known_metrics, load_yaml, problems

FOLDER: Final = DEPLOY / "kubernetes"
LABELS: Final = {"app.kubernetes.io/name": "esm"}
FAILOVER: Final = 10.0
TRIGGERS: Final = {
    "prometheus": (
        {"serverAddress", "query", "threshold"},
        {"ignoreNullValues", "activationThreshold", "authModes", "namespace"},
    ),
    "aws-sqs-queue": ({"queueURL", "awsRegion"}, {"queueLength", "activationQueueLength", "scaleOnInFlight", "scaleOnDelayed"}),
    "metrics-api": (
        {"url", "valueLocation", "targetValue"},
        {"format", "activationTargetValue", "aggregateFromKubeServiceEndpoints", "aggregationType", "unsafeSsl"},
    ),
}
"""What a trigger's metadata must have and may have (KEDA 2.20, Scalers): its schema takes any text."""


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((FOLDER / name).read_text()) if each]


def document(name: str) -> dict[str, Any]:
    (only,) = documents(name)
    return only


def config(name: str, **environ: str) -> Config:
    return load_config(FOLDER / name / "esm.yaml", {"POD_NAME": "esm-7d4b9-x2x4z", **environ}, new_id=lambda: "w")


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = document("base/deployment.yaml")["spec"]["template"]["spec"]
    return spec


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


# the pods and the image


@pytest.mark.parametrize("name", ["base", "overlays/example"])
def test_the_configuration_is_right_and_keeps_what_pods_share_in_a_table(name: str) -> None:
    loaded = config(name)
    assert loaded.warnings == ()
    assert isinstance(loaded.worker.state, DynamodbState)
    assert loaded.worker.id == "esm-7d4b9-x2x4z"
    assert loaded.worker.http_host == "0.0.0.0"  # noqa: S104  # in a pod of its own
    assert loaded.worker.failover == FAILOVER


def test_the_example_has_the_configuration_of_the_base() -> None:
    assert load_yaml(FOLDER / "base" / "esm.yaml") == load_yaml(FOLDER / "overlays" / "example" / "esm.yaml")


def test_the_pod_takes_its_name_for_the_workers_id_from_itself() -> None:
    (env,) = container()["env"]
    assert env == {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def test_the_user_is_that_of_the_image_and_may_do_nothing() -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    context = pod()["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_configuration_lies_where_the_image_looks_for_it_and_handlers_can_write_to_tmp_alone() -> None:
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert set(mounts) == {"/app/esm.yaml", "/tmp"}  # noqa: S108
    assert mounts["/app/esm.yaml"]["subPath"] == "esm.yaml"
    generated = {each["name"] for each in document("base/kustomization.yaml")["configMapGenerator"]}
    assert volumes[mounts["/app/esm.yaml"]["name"]]["configMap"]["name"] in generated
    assert "emptyDir" in volumes[mounts["/tmp"]["name"]]  # noqa: S108


def test_the_probes_ask_the_pages_on_the_workers_port_and_only_health_restarts() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == config("base").worker.http_port
    asked = {name: container()[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {get["port"] for get in asked.values()} == {port["name"]}
    assert [get["path"] for get in asked.values()] == ["/healthz", "/healthz", "/readyz"]


def test_nothing_is_asked_of_the_kubernetes_api_so_nothing_is_allowed_and_no_token_mounted() -> None:
    role, binding = documents("base/rbac.yaml")
    account = document("base/serviceaccount.yaml")
    assert role["rules"] == []
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account["metadata"]["name"]}]
    assert pod()["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is pod()["automountServiceAccountToken"] is False
    sources = [path.read_text() for folder in ("runtime", "pollers", "handlers") for path in (ROOT / folder).rglob("*.py")]
    assert not [text for text in sources if "KUBERNETES_SERVICE_HOST" in text or "serviceaccount/token" in text]


# selectors


def test_everything_that_selects_pods_selects_these_and_only_these() -> None:
    deployment = document("base/deployment.yaml")["spec"]
    assert deployment["template"]["metadata"]["labels"] == LABELS
    assert deployment["selector"] == {"matchLabels": LABELS}
    assert document("base/service.yaml")["spec"]["selector"] == LABELS
    assert document("base/poddisruptionbudget.yaml")["spec"]["selector"] == {"matchLabels": LABELS}
    assert document("base/networkpolicy.yaml")["spec"]["podSelector"] == {"matchLabels": LABELS}
    assert [spread["labelSelector"] for spread in pod()["topologySpreadConstraints"]] == [{"matchLabels": LABELS}] * 2


def test_labels_are_not_added_to_selectors_for_that_of_the_name_server_is_one_of_them() -> None:
    """With kustomize's includeSelectors the policy would let nobody be asked for names."""
    labels = document("base/kustomization.yaml")["labels"]
    assert labels == [{"pairs": LABELS}]
    names = document("base/networkpolicy.yaml")["spec"]["egress"][0]
    assert [peer["podSelector"] for peer in names["to"]] == [{"matchLabels": {"k8s-app": "kube-dns"}}]


def test_every_file_of_a_folder_is_used_by_its_kustomization() -> None:
    for path in FOLDER.rglob("kustomization.yaml"):
        loaded = load_yaml(path)
        used = {*loaded.get("resources", ()), *(patch.get("path") for patch in loaded.get("patches", ()))}
        used |= {file for each in loaded.get("configMapGenerator", ()) for file in each["files"]}
        here = {file.name for file in path.parent.iterdir() if file.is_file()}
        assert {each for each in used if each and ".." not in each} == here - {"kustomization.yaml"}, path


# monitoring and scaling


def test_the_monitor_finds_the_service_and_calls_its_job_as_the_alerts_do() -> None:
    monitor, service = document("components/prometheus-operator/servicemonitor.yaml")["spec"], document("base/service.yaml")
    assert monitor["selector"] == {"matchLabels": LABELS}
    assert LABELS[monitor["jobLabel"]] == "esm"
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["spec"]["publishNotReadyAddresses"] is True


def triggers() -> Iterator[dict[str, Any]]:
    yield from document("components/keda/scaledobject.yaml")["spec"]["triggers"]
    yield load_yaml(FOLDER / "components/keda-queue/trigger.yaml")[0]["value"]
    yield from load_yaml(FOLDER / "components/keda-without-prometheus/triggers.yaml")[0]["value"]


@pytest.mark.parametrize("trigger", list(triggers()), ids=lambda trigger: trigger["name"])
def test_a_trigger_has_the_parameters_of_its_kind_as_text_and_counts_workers_on_the_average(trigger: dict[str, Any]) -> None:
    needed, allowed = TRIGGERS[trigger["type"]]
    assert needed <= set(trigger["metadata"]) <= needed | allowed
    assert {type(value) for value in trigger["metadata"].values()} == {str}
    assert trigger["metricType"] == "AverageValue"


def test_what_the_triggers_ask_for_exists_and_is_added_up_over_the_workers_for_each_mapping() -> None:
    asked = {trigger["name"]: trigger["metadata"] for trigger in triggers()}
    query = Query(where="ScaledObject", expression=asked["desired-workers"]["query"])
    assert problems(query, known_metrics()) == []
    assert query.expression == 'max(sum by (mapping) (esm_desired_workers{job="esm"}))'
    assert asked["desired-workers"]["threshold"] == "1"
    of_pods = [asked[name] for name in asked if name.startswith("desired-workers-")]
    locations = {each["valueLocation"] for each in of_pods}
    assert locations == {f'esm_desired_workers{{mapping="{mapping.name}"}}' for mapping in config("base").mappings}
    for each in of_pods:
        assert problems(Query(where="trigger", expression=each["valueLocation"]), known_metrics()) == []
        assert (each["aggregationType"], each["aggregateFromKubeServiceEndpoints"]) == ("sum", "true")
        service = document("base/service.yaml")
        namespace = document("overlays/example/kustomization.yaml")["namespace"]
        assert each["url"] == f"http://{service['metadata']['name']}.{namespace}:{service['spec']['ports'][0]['port']}/metrics"


def test_the_queue_that_keda_asks_about_is_that_of_the_mapping() -> None:
    (url,) = [trigger["metadata"]["queueURL"] for trigger in triggers() if trigger["type"] == "aws-sqs-queue"]
    (arn,) = [mapping.source_arn for mapping in config("base").mappings if mapping.source == "sqs"]
    _, _, _, region, account, name = arn.split(":")
    assert url == f"https://sqs.{region}.amazonaws.com/{account}/{name}"


def test_the_fleet_goes_up_quickly_and_down_slowly() -> None:
    """What tests/unit/test_core_scaling.py shows to settle."""
    spec = document("components/keda/scaledobject.yaml")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = behavior["scaleUp"], behavior["scaleDown"]
    assert (up["stabilizationWindowSeconds"], down["stabilizationWindowSeconds"]) == (0, 300)
    assert {(each["type"], each["value"], each["periodSeconds"]) for each in up["policies"]} == {
        ("Percent", 100, 60),
        ("Pods", 2, 60),
    }
    assert spec["scaleTargetRef"]["name"] == document("base/deployment.yaml")["metadata"]["name"]
    assert "replicas" not in document("base/deployment.yaml")["spec"]
    assert spec["minReplicaCount"] >= 1


def test_monitoring_and_keda_reach_the_pages_through_the_network_policy() -> None:
    (rule,) = document("base/networkpolicy.yaml")["spec"]["ingress"]
    allowed = {peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]}
    address = document("components/keda/scaledobject.yaml")["spec"]["triggers"][0]["metadata"]["serverAddress"]
    assert allowed == {"keda", Path(address).name.partition(":")[0].partition(".")[2]}


# stopping and rolling updates


def test_a_pod_has_more_time_to_stop_than_its_worker_and_the_worker_more_than_its_functions() -> None:
    loaded = config("base")
    assert max(function.timeout for function in loaded.functions.values()) < loaded.worker.grace
    assert pod()["terminationGracePeriodSeconds"] >= loaded.worker.grace + 15


def test_a_rollout_waits_until_a_shard_that_has_just_moved_may_move_again() -> None:
    assert document("base/deployment.yaml")["spec"]["minReadySeconds"] > 3 * FAILOVER


def moved(workers: int, *, surge: int, unavailable: int) -> float:
    """How often a shard changes hands in a rolling update, on the average, by the plans that leaders make."""
    owners: dict[str, str | None] = {f"shard-{number:03}": None for number in range(16 * workers)}

    def settle(living: list[str]) -> int:
        moves = 0
        while True:
            leases = [Lease(scope="m", shard=shard, checkpoint=TRIM_HORIZON, owner=owner) for shard, owner in owners.items()]
            plan = plan_assignments(
                leases, living, quiet={}, failover=FAILOVER, resident={}, residency=0, handing={}, patience=60
            )
            if not plan:
                return moves
            moves += len(plan)
            owners.update({each.lease.shard: each.to for each in plan})

    old, new = [f"old-{number}" for number in range(workers)], list[str]()
    settle(old)
    moves = 0
    while old or len(new) < workers:
        room = workers + surge - len(old) - len(new)
        new += [f"new-{len(new) + number}" for number in range(min(room, workers - len(new)))]
        moves += settle(old + new)
        gone, old = old[: len(old) + len(new) - workers + unavailable], old[len(old) + len(new) - workers + unavailable :]
        owners = {shard: None if owner in gone else owner for shard, owner in owners.items()}
        moves += settle(old + new)
    return moves / len(owners)


def test_a_rolling_update_moves_as_many_shards_as_the_readme_says() -> None:
    update = document("base/deployment.yaml")["spec"]["strategy"]["rollingUpdate"]
    surge = ceil(10 * int(update["maxSurge"].removesuffix("%")) / 100)
    assert moved(10, surge=10, unavailable=0) == 1
    assert moved(10, surge=surge, unavailable=update["maxUnavailable"]) == pytest.approx(1.3, abs=0.05)
    assert moved(10, surge=1, unavailable=0) == pytest.approx(1.8, abs=0.05)
    assert moved(10, surge=0, unavailable=1) == 2
    readme = (DEPLOY / "README.md").read_text()
    for figure in ("`50%` | 1.3", "`100%` | 1.0", "`1` | 1.8", "`maxUnavailable: 1` | 2.0"):
        assert figure in readme
