"""What DynamoDB and the client say, as a StateError that names the table, the operation, and what to do."""

from typing import Any, Final

from botocore.exceptions import ClientError

from pollers.aws.errors import THROTTLED, to_source_error
from pollers.errors import SourceRejected
from runtime.leases import StateError
from runtime.stores.dynamodb.values import Item

CONDITION_FAILED: Final = "ConditionalCheckFailedException"
TRANSACTION_CANCELED: Final = "TransactionCanceledException"
NOT_FOUND: Final = "ResourceNotFoundException"
IN_USE: Final = "ResourceInUseException"
_POLICY: Final = "see deploy/iam/state-dynamodb-policy.json"
_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "NotAuthorized", "UnauthorizedOperation"})


class StateRejected(StateError):
    """It stays like this until somebody changes something."""


class RowUnreadable(StateRejected):
    """One row is to blame, and nothing else."""


def to_state_error(error: Exception, *, operation: str, table: str, region: str) -> StateError:
    """`region`: for the user, who may look into the wrong one."""
    found = to_source_error(error, doing=operation)
    where = f"state table {table} in {region}: {found}"
    if found.code == NOT_FOUND:
        return StateRejected(f"{where}: it is not there (any more): make it, or start the worker again without create=false")
    if found.code in _DENIED:
        action = "PutItem" if operation == "TransactWriteItems" else operation
        return StateRejected(f"{where}: allow dynamodb:{action} on it ({_POLICY})")
    if found.code in THROTTLED:
        return StateError(f"{where}: give the table more capacity, or on-demand billing; it is asked again until then")
    return StateRejected(where) if isinstance(found, SourceRejected) else StateError(where)


def condition_failed(error: Exception) -> bool:
    return code_of(error) == CONDITION_FAILED


def code_of(error: Exception) -> str | None:
    return str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else None


def row_of(error: Exception) -> Item | None:
    """The row as it is, of a condition that failed (ReturnValuesOnConditionCheckFailure); None: there is none."""
    item: Any = error.response.get("Item") if isinstance(error, ClientError) else None
    return item or None


def reasons_of(error: Exception) -> list[str]:
    """Of a transaction that was cancelled: one code per item, `None` for those that were right."""
    reasons: Any = error.response.get("CancellationReasons", []) if isinstance(error, ClientError) else []
    return [str(reason.get("Code", "None")) for reason in reasons]
