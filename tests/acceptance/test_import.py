"""`esm import`, `esm run --template` and `esm schema` as a user types them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.acceptance.local_aws import ACCOUNT, REGION, LocalAws, local_aws, stream_arn
from tests.acceptance.test_commands import Ended, esm
from tests.acceptance.worker_process import CODE, Site, process_on, wait_until
from tests.fakes.roads import chosen_client

TEMPLATE = f"""
Transform: AWS::Serverless-2016-10-31
Parameters:
  Stage: {{Type: String}}
Globals:
  Function: {{Runtime: python3.12, Timeout: 10, CodeUri: {CODE}}}
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties: {{QueueName: !Sub "orders-${{Stage}}"}}
  Returns:
    Type: AWS::SQS::Queue
  Works:
    Type: AWS::Serverless::Function
    Properties:
      Handler: acts.works
      Events:
        Orders:
          Type: SQS
          Properties:
            Queue: !GetAtt Orders.Arn
            FunctionResponseTypes: [ReportBatchItemFailures]
        Returns:
          Type: SQS
          Properties: {{Queue: !GetAtt Returns.Arn, BatchSize: 5}}
        Nightly: {{Type: Schedule, Properties: {{Schedule: rate(1 day)}}}}
"""
GIVEN = ("--parameter", "Stage=dev", "--region", REGION, "--account-id", ACCOUNT)
RETURNS = {"RETURNS_ARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:returns"}


def site_with(folder: Path, template: str = TEMPLATE, name: str = "template.yaml") -> Site:
    (folder / name).write_text(template)
    return Site(folder)


def worker_block(**more: Any) -> dict[str, Any]:
    return {"http": "127.0.0.1:0", "grace": 1, "state": "memory://", "log": {"format": "json"}, "client": chosen_client(), **more}


async def esm_with(site: Site, *arguments: str, **environment: str) -> Ended:
    done = subprocess.run(  # noqa: ASYNC221  # it comes back by itself
        [sys.executable, "-m", "runtime", *arguments],
        cwd=site.folder,
        env=site.environment("http://127.0.0.1:9", environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr)


async def records_of_both_queues_are_handled(aws: LocalAws, site: Site, *command: str) -> None:
    await aws.make_queue("orders-dev")
    await aws.make_queue("returns")
    await aws.send("orders-dev", "one")
    await aws.send("returns", "two")
    async with process_on(site, aws.endpoint.url, arguments=command, **RETURNS) as worker:
        await wait_until(
            lambda: {each.body for each in site.journal("ended")} == {"one", "two"}, f"both handled\n{worker.log_text()}"
        )
        await wait_until(lambda: aws.is_empty("orders-dev", "returns"), "both deleted")
        assert await worker.stop() == 0


async def test_a_template_is_imported_checked_and_run(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    made = await esm(site, "import", "template.yaml", "-o", "esm.yaml", *GIVEN)
    assert made.code == 0
    assert made.out == ""
    assert "2 mappings carried over to esm.yaml" in made.err
    assert "RETURNS_ARN (template.yaml:11): Returns has no QueueName" in made.err
    assert "Works.Events.Nightly (template.yaml:26): an event of type Schedule is not polled for" in made.err
    file = tmp_path / "esm.yaml"
    file.write_text(file.read_text() + f"worker: {json.dumps(worker_block())}\n")
    checked = await esm_with(site, "check", "-c", "esm.yaml", JOURNAL=str(site.journal_file), **RETURNS)
    assert (checked.code, checked.err) == (0, "")
    async with local_aws() as aws:
        await records_of_both_queues_are_handled(aws, site, "run", "-c", "esm.yaml")


async def test_a_template_is_run_as_it_is(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    (tmp_path / "worker.yaml").write_text(json.dumps({"worker": worker_block()}))
    async with local_aws() as aws:
        await records_of_both_queues_are_handled(aws, site, "run", "--template", "template.yaml", "-c", "worker.yaml", *GIVEN)


async def test_a_stream_of_a_serverless_yml_is_run_as_it_is(tmp_path: Path) -> None:
    text = f"""
service: shop
provider: {{name: aws, runtime: python3.12, region: {REGION}}}
functions:
  clicks:
    handler: stream_acts.works
    module: {CODE}
    events: [{{stream: "{stream_arn("clicks")}"}}]
"""
    site = site_with(tmp_path, text, "serverless.yml")
    (tmp_path / "worker.yaml").write_text(json.dumps({"worker": worker_block()}))
    async with local_aws() as aws:
        await aws.make_stream("clicks")
        await aws.put("clicks", "one")
        arguments = ("run", "--template", "serverless.yml", "-c", "worker.yaml")
        async with process_on(site, aws.endpoint.url, arguments=arguments) as worker:

            async def invoked() -> bool:
                return await worker.metric("esm_invoked_events_total") == 1

            await worker.wait(invoked, "the record is handled")
            assert await worker.stop() == 0


async def test_problems_of_a_template_point_into_it(tmp_path: Path) -> None:
    site = site_with(tmp_path, TEMPLATE.replace("BatchSize: 5", "BatchSize: 20").replace("acts.works", "acts.nobody"))
    checked = await esm_with(site, "check", "--template", "template.yaml", *GIVEN, JOURNAL=str(site.journal_file), **RETURNS)
    assert checked.code == 1
    first, second, last = checked.err.splitlines()
    assert first.startswith("function Works (template.yaml:16): Runtime.HandlerNotFound")
    assert second.startswith("mapping returns-Works (template.yaml:25): BatchSize is 20")
    assert last == "template.yaml: 2 problems"


async def test_what_is_missing_for_a_template_is_asked_for_with_its_reason(tmp_path: Path) -> None:
    ended = await esm(site_with(tmp_path), "run", "--template", "template.yaml", *GIVEN)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        (
            "mapping #2 (template.yaml:25): EventSourceArn: Returns has no QueueName, so CloudFormation makes one: give its ARN, as the "
            "environment variable RETURNS_ARN"
        )
    ]


async def test_beside_a_template_only_the_worker_part_of_a_file_is_read(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    (tmp_path / "esm.yaml").write_text("worker: {grace: 25}\nfunctions: {}\n")
    ended = await esm_with(site, "check", "--template", "template.yaml", "-c", "esm.yaml", *GIVEN, **RETURNS)
    assert ended.code == 1
    assert "esm.yaml:2: with a template only `worker` is read from this file: remove functions" in ended.err
    (tmp_path / "esm.yaml").write_text("worker:\n  grace: many\n")
    ended = await esm_with(site, "check", "--template", "template.yaml", "-c", "esm.yaml", *GIVEN, **RETURNS)
    assert "worker (esm.yaml:2): grace is 'many'" in ended.err


async def test_json_holds_the_file_and_what_was_found(tmp_path: Path) -> None:
    ended = await esm(site_with(tmp_path), "import", "template.yaml", "--json", *GIVEN)
    assert ended.code == 0
    assert ended.err == ""
    found = json.loads(ended.out)
    assert [each["source"] for each in found["carried"]] == [f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders-dev", "${RETURNS_ARN}"]
    assert [each["name"] for each in found["give"]] == ["RETURNS_ARN"]
    assert [(each["what"], each["line"]) for each in found["left_out"]] == [("Works.Events.Nightly", 26)]
    assert found["problems"] == []
    assert yaml.safe_load(found["esm.yaml"])["functions"]["Works"]["Handler"] == "acts.works"


async def test_stdout_holds_the_file_and_nothing_else(tmp_path: Path) -> None:
    ended = await esm(site_with(tmp_path), "import", "template.yaml", *GIVEN)
    assert yaml.safe_load(ended.out).keys() == {"functions", "mappings"}
    assert ended.out.startswith("# Made by `esm import` from template.yaml.\n")


async def test_a_file_is_not_written_over_unless_told(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    (tmp_path / "esm.yaml").write_text("mine\n")
    ended = await esm(site, "import", "template.yaml", "-o", "esm.yaml", *GIVEN)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "esm.yaml is there already: give --force to write over it, or another -o\n"
    assert (tmp_path / "esm.yaml").read_text() == "mine\n"
    assert (await esm(site, "import", "template.yaml", "-o", "esm.yaml", "--force", *GIVEN)).code == 0
    assert "acts.works" in (tmp_path / "esm.yaml").read_text()


async def test_nothing_to_carry_over_is_a_failure_that_writes_nothing(tmp_path: Path) -> None:
    site = site_with(tmp_path, "Resources: {A: {Type: AWS::SNS::Topic}}\n")
    ended = await esm(site, "import", "template.yaml", "-o", "esm.yaml")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "template.yaml: 0 mappings carried over\n"
    assert not (tmp_path / "esm.yaml").exists()
    ended = await esm(site, "run", "--template", "template.yaml")
    assert ended.err == "template.yaml:1: there is no event source mapping here that could be run\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import",), "esm import: name a template, or give --from-account, and not both"),
        (("import", "nowhere.yaml"), "nowhere.yaml:1: there is no such file: name a template"),
        (("import", "."), ".:1: this is a folder, not a file: name the file in it, as in template.yaml"),
        (("import", "template.yaml", "--parameter", "Stge=x"), "did you mean Stage?"),
        (("import", "template.yaml", "--function", "x"), "--function is for --from-account"),
        (
            ("import", "template.yaml", "-o", "no/such/folder/esm.yaml"),
            "no/such/folder/esm.yaml cannot be written: No such file or directory",
        ),
        (("import", "--from-account"), "listing event source mappings: no answer"),
        (("import", "broken.yaml"), "broken.yaml:2: this is not YAML"),
        (("run", "--template", "nowhere.yaml"), "nowhere.yaml:1: there is no such file"),
        (("check", "--template", "broken.yaml"), "broken.yaml:2: this is not YAML"),
    ],
)
async def test_what_cannot_be_imported_is_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    site = site_with(tmp_path)
    (tmp_path / "broken.yaml").write_text("Resources:\n  a: [1\n")
    ended = await esm_with(site, *arguments, AWS_DEFAULT_REGION=REGION)
    assert ended.code == 1
    assert ended.out == ""
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("option", [("--account-id", "12"), ("--parameter", "x")])
async def test_options_of_a_wrong_shape_are_refused(option: tuple[str, str], tmp_path: Path) -> None:
    ended = await esm(site_with(tmp_path), "import", "template.yaml", *option)
    assert ended.code == 2
    assert option[1] in ended.err


def test_a_sam_template_without_the_translator_says_what_to_install(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    hide = "import sys, runtime.cli; sys.modules['samtranslator'] = None; sys.argv = ['esm', 'import', 'template.yaml']; runtime.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", hide], cwd=tmp_path, env=site.environment("", {}), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == (
        "template.yaml:1: SAM templates take AWS's translator, which is not installed: pip install 'esm-runtime[import]'\n"
    )


async def test_a_worker_on_a_template_leaves_the_translators_libraries_to_the_handlers(tmp_path: Path) -> None:
    """A function's folder may hold others of them."""
    (tmp_path / "app.py").write_text(
        "import sys\nprint(sorted({'boto3', 'pydantic', 'samtranslator', 'jsonschema'} & set(sys.modules)))\ndef handler(event, context): ...\n"
    )
    site = site_with(tmp_path, TEMPLATE.replace(str(CODE), ".").replace("acts.works", "app.handler"))
    ended = await esm_with(site, "check", "--template", "template.yaml", *GIVEN, **RETURNS)
    assert (ended.code, ended.out.splitlines()[0]) == (0, "[]")


async def test_the_schema_is_one_and_judges_what_import_wrote(tmp_path: Path) -> None:
    site = site_with(tmp_path)
    printed = await esm(site, "schema")
    assert printed.code == 0
    schema = json.loads(printed.out)
    Draft202012Validator.check_schema(schema)
    made = await esm(site, "import", "template.yaml", *GIVEN)
    assert list(Draft202012Validator(schema).iter_errors(yaml.safe_load(made.out))) == []
