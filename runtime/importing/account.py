"""The mappings of a live account, in the shape of a template: from there on there is one road."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pollers.aws.clients import AwsClients
from pollers.aws.errors import to_source_error
from pollers.errors import SourceError
from runtime.config.arns import ArnError, parse_function_name
from runtime.importing.cloudformation import MAPPING, draft_of
from runtime.importing.code import Folders
from runtime.importing.findings import Draft, Findings
from runtime.importing.functions import FUNCTION
from runtime.importing.resolver import Given, Resolver
from runtime.importing.values import Block, located

_KEPT_KEYS: Final = (
    "EventSourceArn BatchSize MaximumBatchingWindowInSeconds FunctionResponseTypes ScalingConfig FilterCriteria "
    "ProvisionedPollerConfig KMSKeyArn StartingPosition StartingPositionTimestamp ParallelizationFactor "
    "BisectBatchOnFunctionError MaximumRetryAttempts MaximumRecordAgeInSeconds TumblingWindowInSeconds DestinationConfig "
    "SelfManagedEventSource"
)
_DEFAULTS: Final[dict[str, Any]] = {
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
    "ParallelizationFactor": 1,
    "BisectBatchOnFunctionError": False,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
    "TumblingWindowInSeconds": 0,
    "DestinationConfig": {"OnFailure": {}},
}
"""What AWS answers for what was not set (API-40, API-41)."""
_OFF: Final = frozenset({"Disabled", "Disabling"})
_FUNCTION_KEYS: Final = (
    "FunctionName",
    "Handler",
    "Runtime",
    "Timeout",
    "MemorySize",
    "PackageType",
    "Layers",
    "FileSystemConfigs",
)
_SECRETS: Final = "the values of its environment variables were copied as they are: see that no secret lies in the file"
_POLLED: Final = "AWS polls for it too, as long as it is enabled there: disable it before a worker runs it"


async def import_account(region: str, function: str | None) -> tuple[Draft, Findings]:
    """All mappings, or those of one function. `region`: empty for that of the environment. Raises `SourceError`."""
    async with AwsClients() as clients:
        client = await clients.client("lambda", region, retries=True)
        findings = Findings(file=f"account, {client.meta.region_name}")
        mappings = await _mappings(client, function)
        names = list(dict.fromkeys(str(each.get("FunctionArn", "")) for each in mappings))
        functions = {name: await _function(client, name, findings) for name in names}
    return account_draft(mappings, functions, findings), findings


async def _mappings(client: Any, function: str | None) -> list[dict[str, Any]]:
    """API-05, API-06: page by page."""
    request: dict[str, Any] = {} if function is None else {"FunctionName": function}
    found: list[dict[str, Any]] = []
    while True:
        try:
            page = await client.list_event_source_mappings(**request)
        except Exception as error:
            raise to_source_error(error, doing="listing event source mappings") from error
        found += page.get("EventSourceMappings", [])
        marker = page.get("NextMarker")
        if not marker or marker == request.get("Marker"):
            return found
        request["Marker"] = marker


async def _function(client: Any, arn: str, findings: Findings) -> dict[str, Any] | None:
    """None when it cannot be had: its mappings are carried over all the same (a function can be gone before them, API-54)."""
    try:
        answer: dict[str, Any] = await client.get_function_configuration(FunctionName=arn)
    except Exception as error:  # noqa: BLE001  # whatever the SDK raises, by its table
        fault = to_source_error(error, doing="reading the function's configuration")
        findings.note(
            0, f"function {arn.rpartition(':function:')[2] or arn}", f"its configuration cannot be read: {_said(fault)}"
        )
        return None
    return answer


def _said(fault: SourceError) -> str:
    return str(fault).strip()


def account_draft(mappings: list[dict[str, Any]], functions: Mapping[str, dict[str, Any] | None], findings: Findings) -> Draft:
    """The draft of what AWS answered: mappings, and functions by the ARN that the mappings name."""
    resources = Block()
    for arn, answer in functions.items():
        if answer is not None:
            resources.put(f"function {arn}", _function_block(answer, findings), 0)
    for number, mapping in enumerate(mappings, start=1):
        name = f"mapping {mapping.get('UUID', number)}"
        if mapping.get("State") == "Deleting":
            findings.leave_out(0, name, "it is being deleted")
        else:
            resources.put(name, _mapping_block(mapping), 0)
            if mapping.get("State") not in _OFF:
                findings.note(0, name, _POLLED)
    template = Block({"Resources": resources})
    return draft_of(template, Resolver(template=template, given=Given()), findings, Folders(template="/", esm="/"))


def _function_block(answer: dict[str, Any], findings: Findings) -> Block:
    properties: dict[str, Any] = {key: answer[key] for key in _FUNCTION_KEYS if answer.get(key)}
    properties["Code"] = {"S3Bucket": ""}
    variables = answer.get("Environment", {}).get("Variables")
    if variables:
        properties["Environment"] = {"Variables": variables}
        findings.note(0, f"function {answer.get('FunctionName')}", _SECRETS)
    return Block({"Type": FUNCTION, "Properties": located(properties, 0)})


def _mapping_block(mapping: dict[str, Any]) -> Block:
    properties: dict[str, Any] = {"FunctionName": _function_name(str(mapping.get("FunctionArn", "")))}
    if mapping.get("State") in _OFF:
        properties["Enabled"] = False
    for key in _KEPT_KEYS.split():
        value = mapping.get(key)
        if isinstance(value, datetime):
            value = int(value.timestamp()) if value.timestamp().is_integer() else value.timestamp()
        if value not in (None, "", {}) and value != _DEFAULTS.get(key, None):
            properties[key] = value
    if set(properties.get("DestinationConfig", {})) == {"OnFailure"} and not properties["DestinationConfig"]["OnFailure"]:
        del properties["DestinationConfig"]
    return Block({"Type": MAPPING, "Properties": located(properties, 0)})


def _function_name(arn: str) -> str:
    """The name alone, with the qualifier that the mapping has: that is what `functions` is searched for."""
    try:
        reference = parse_function_name(arn)
    except ArnError:
        return arn
    return reference.name + reference.qualifier
