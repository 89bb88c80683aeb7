"""The image, the compose file, the example configuration and the IAM policies fit each other and the program."""

import base64
import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.cli import _parser
from runtime.config import Config, load_config
from runtime.config.schema import Worker
from runtime.config.worker import SqliteState
from runtime.core.mapping import EventSourceMapping
from tests.deploy.shipped import DEPLOY, ROOT, load_yaml

STATE_FOLDER = "/var/lib/esm"


def example(environ: dict[str, str] | None = None) -> Config:
    return load_config(DEPLOY / "esm.yaml", environ or {}, new_id=lambda: "w")


def mappings() -> dict[str, EventSourceMapping]:
    return {mapping.name: mapping for mapping in example().mappings}


def services() -> dict[str, Any]:
    loaded: dict[str, Any] = load_yaml(DEPLOY / "compose.yaml")["services"]
    return loaded


def instructions(name: str) -> list[str]:
    """The arguments of an instruction in the last stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    last = text[text.rindex("\nFROM ") :]
    return re.findall(rf"^{name} (.*)$", last, re.MULTILINE)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"deployed_{path.stem}", path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# the image


def test_the_image_runs_the_worker_without_a_shell_and_stops_by_sigterm() -> None:
    assert [json.loads(each) for each in instructions("ENTRYPOINT")] == [["esm"]]
    assert [json.loads(each) for each in instructions("CMD")] == [["run"]]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert instructions("WORKDIR") == ["/app"]


def test_the_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    assert [re.fullmatch(r"([1-9]\d*):([1-9]\d*)", user) is not None for user in instructions("USER")] == [True]


def test_the_health_check_asks_healthz_on_the_exposed_port() -> None:
    (check,) = instructions("HEALTHCHECK")
    python, flag, program = json.loads(check.partition(" CMD ")[2])
    assert (python, flag) == ("python", "-c")
    compile(program, "HEALTHCHECK", "exec")
    (port,) = instructions("EXPOSE")
    assert f"'127.0.0.1', {port}," in program
    assert "/healthz" in program
    assert example().worker.http_port == int(port)


def test_the_build_gets_every_package_that_the_wheel_is_made_of_and_nothing_else() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {*packages, "pyproject.toml", "README.md", "constraints.txt"}
    copied = set(re.findall(r"^COPY ((?!--).*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert set(" ".join(copied).split()) == allowed


def test_the_image_has_a_folder_for_the_state_that_the_worker_owns_and_the_default_path_leads_to() -> None:
    """Where no folder is mounted over it, `/app/.esm` is a link to it; a volume made there takes its owner."""
    (user,) = instructions("USER")
    owner, _, group = user.partition(":")
    (made,) = [run for run in instructions("RUN") if STATE_FOLDER in run]
    assert f"install --directory --owner={owner} --group={group} --mode=0750 {STATE_FOLDER}" in made
    (workdir,) = instructions("WORKDIR")
    default = Worker().state.removeprefix("sqlite:///./")
    assert f"ln -s {STATE_FOLDER} {workdir}/{Path(default).parent}" in made
    assert instructions("VOLUME") == []  # an anonymous volume would be a silent fresh start with each new container


# the example configuration and compose


def test_the_example_is_right_and_can_be_reached_from_outside_its_container() -> None:
    config = example()
    assert config.warnings == ()
    assert config.worker.http_host == "0.0.0.0"  # noqa: S104  # in a container of its own
    assert example({"ESM_HTTP": "127.0.0.1:0"}).worker.http_host == "127.0.0.1"


def test_the_example_keeps_its_state_on_a_volume_that_all_replicas_of_the_worker_share() -> None:
    """Each has its own id, as none is set: two with one id would take each other's leases for their own."""
    state = example().worker.state
    assert isinstance(state, SqliteState)
    assert str(state.path.parent) == STATE_FOLDER
    assert example().worker.id == "w"  # what `new_id` gives
    (volume,) = [each for each in services()["worker"]["volumes"] if each.endswith(f":{STATE_FOLDER}")]
    assert volume.partition(":")[0] in load_yaml(DEPLOY / "compose.yaml")["volumes"]
    elsewhere = example({"ESM_STATE": "sqlite:///elsewhere/state.db"}).worker.state
    assert elsewhere == SqliteState(path=Path("/elsewhere/state.db"))


def test_compose_gives_the_worker_more_time_than_its_grace_period() -> None:
    stop = services()["worker"]["stop_grace_period"]
    assert int(stop.removesuffix("s")) >= example().worker.grace + 5


def test_compose_runs_commands_that_the_program_has() -> None:
    command = services()["endpoint"]["command"]
    arguments = _parser().parse_args(command)
    assert arguments.host == "0.0.0.0"  # noqa: S104  # in a container of its own
    assert f":{arguments.port}" in load_yaml(DEPLOY / "compose.yaml")["x-aws"]["AWS_ENDPOINT_URL"]


def test_compose_publishes_ports_on_loopback_alone() -> None:
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_mounts_what_is_there_and_starts_after_what_is_there() -> None:
    named = load_yaml(DEPLOY / "compose.yaml")["volumes"]
    for name, service in services().items():
        for volume in service.get("volumes", ()):
            if volume.partition(":")[0] in named:
                continue
            assert (DEPLOY / volume.partition(":")[0]).exists(), f"{name}: {volume}"
            assert volume.endswith(":ro"), f"{name}: {volume}"
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services(), name
            if how["condition"] == "service_healthy":
                assert services()[needed]["healthcheck"]["test"], name


def test_compose_keeps_the_worker_without_privileges_and_a_writable_disk() -> None:
    for name in ("worker", "endpoint", "traffic"):
        service = services()[name]
        assert (service["image"], service["read_only"], service["cap_drop"]) == ("esm-runtime", True, ["ALL"]), name


def test_the_traffic_goes_to_the_queue_and_the_stream_that_the_example_polls() -> None:
    traffic = module(DEPLOY / "traffic.py")
    account = load_yaml(DEPLOY / "compose.yaml")["x-aws"]["AWS_ACCESS_KEY_ID"]
    assert mappings()["orders"].source_arn == f"arn:aws:sqs:{traffic.REGION}:{account}:{traffic.QUEUE}"
    assert mappings()["clicks"].source_arn == f"arn:aws:kinesis:{traffic.REGION}:{account}:stream/{traffic.STREAM}"
    stream = mappings()["clicks"].stream
    assert stream
    assert stream.destination == f"arn:aws:sqs:{traffic.REGION}:{account}:{traffic.STREAM}-failed"


def test_the_example_handler_of_the_stream_fails_on_the_poison_of_the_traffic_and_its_mapping_gets_past_it() -> None:
    handler, traffic = module(DEPLOY / "clicks.py"), module(DEPLOY / "traffic.py")
    data = [base64.b64encode(traffic.click(number)["Data"]).decode() for number in (2, 3, traffic.POISON_CLICK_EVERY + 1)]
    records = [{"kinesis": {"data": each}} for each in data]
    assert handler.handler({"Records": records[:2]}, None) is None
    with pytest.raises(ValueError, match="click 601 is poison"):
        handler.handler({"Records": records}, None)
    stream = mappings()["clicks"].stream
    assert stream
    assert (stream.retry.attempts, stream.retry.bisect) == (1, True)


def test_the_example_handler_reports_the_poison_of_the_traffic_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, traffic = module(DEPLOY / "orders.py"), module(DEPLOY / "traffic.py")
    monkeypatch.setattr(handler, "WORK_SECONDS", 0)
    records = [{"messageId": str(number), "body": traffic.order(number)} for number in (49, 50, 51)]
    assert handler.handler({"Records": records}, None) == {"batchItemFailures": [{"itemIdentifier": "50"}]}
