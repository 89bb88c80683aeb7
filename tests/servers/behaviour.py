"""Where the test servers may differ from AWS, service by service.

The defaults are AWS's behaviour; a row of the catalogue names only where its server departs from it. Every name is of one service only.
"""

from dataclasses import dataclass, fields
from enum import StrEnum


class Service(StrEnum):
    """What tests talk to. DynamoDB is the tables and their streams together."""

    SQS = "sqs"
    KINESIS = "kinesis"
    DYNAMODB = "dynamodb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How SQS behaves on a server."""

    fifo_ok: bool = True
    """FIFO queues keep the order of a group over redelivery, and a group that is being worked on is not given to a second receiver."""
    gives_earlier_while_later_in_flight: bool = True
    """A record of a FIFO group that was given back comes again though a later one of its group is still in flight.

    The developer guide reads as if the group stayed closed; `runtime/local/order.py` follows what was recorded from AWS.
    """
    expires_fifo_handles: bool = True
    """A FIFO record cannot be deleted any more once its visibility timeout is over."""
    increasing_sequence_numbers: bool = True
    """SequenceNumber grows within a FIFO queue."""
    stale_delete_keeps: bool = True
    """Deleting with the handle of an earlier receive leaves the record in the queue, whether it answers an error or not."""
    second_delete_ok: bool = True
    """Deleting what is already deleted, with the same handle, answers success."""
    reports_not_inflight: bool = True
    """ChangeMessageVisibility of a record that is visible again answers MessageNotInflight."""
    checks_visibility_limit: bool = True
    """A VisibilityTimeout over 43,200 is refused."""
    long_poll_waits_on_redrive: bool = True
    """A long poll that moves a record to the dead-letter queue goes on waiting instead of answering at once with nothing."""
    exact_visibility: bool = True
    """Visibility timeouts and delays end on time rather than at the next tick of a coarse timer."""
    visibility_slack_seconds: float = 0.5
    """How much later than its timeout a record may be seen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KinesisBehaviour:
    """How Kinesis behaves on a server."""

    ends_split_shards: bool = True
    """What a shard held before it was split or merged can be read from it afterwards, up to an answer without a next iterator."""
    child_shards: bool = True
    """The last answer of an ended shard names its children."""
    pages_list_shards: bool = True
    """ListShards keeps to MaxResults and takes NextToken alone, as AWS demands."""
    milliseconds_behind: bool = True
    """MillisBehindLatest is above 0 while records wait to be read, and 0 at the end."""
    refuses_future_timestamps: bool = True
    """AT_TIMESTAMP in the future is refused."""
    refuses_bad_sequence_numbers: bool = True
    """AFTER_SEQUENCE_NUMBER with a number that the shard never gave is refused."""
    refuses_garbage_iterators: bool = True
    """An iterator that is none is refused with InvalidArgumentException."""
    pushes_records: bool = True
    """SubscribeToShard sends records as they come, to a registered consumer."""
    refuses_early_subscriptions: bool = True
    """A second subscription within five seconds is refused with ResourceInUseException; a later one takes over."""
    refuses_unknown_subscriptions: bool = True
    """A subscription of an unknown consumer or shard is refused with ResourceNotFoundException."""
    ends_pushed_shards: bool = True
    """What a shard held before it was split or merged is pushed from it afterwards, up to an event with its children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamodbBehaviour:
    """How DynamoDB and its streams behave on a server."""

    atomic_writes: bool = True
    """Of many who write one item under a condition at the same time, or make one table, each sees what the one before it left."""
    ends_disabled_streams: bool = True
    """A stream that was disabled can still be described and read, up to an answer without a next iterator."""
    ends_empty_shards: bool = True
    """The same of a stream into which nothing was ever written."""
    refuses_unknown_shards: bool = True
    """A shard that the stream does not have is refused with ResourceNotFoundException."""
    hexadecimal_event_ids: bool = True
    """The `eventID` of a record is 32 hexadecimal digits (DDB-24)."""
    silent_when_unchanged: bool = True
    """A write that changes nothing puts nothing into the stream (DDB-17)."""
    several_open_shards: bool = True
    """A stream can have more than one open shard."""
    rolls_over_shards: bool = True
    """A shard can be closed and go on in a child while its stream stays enabled (DDB-13)."""
    ttl_user_identity: bool = True
    """What time to live deletes is in the stream, with `userIdentity` (DDB-27)."""


_BEHAVIOURS = {Service.SQS: Behaviour, Service.KINESIS: KinesisBehaviour, Service.DYNAMODB: DynamodbBehaviour}


def flag_names(service: Service) -> frozenset[str]:
    """The yes-or-no questions that a test can ask of a server that speaks the service."""
    return frozenset(f.name for f in fields(_BEHAVIOURS[service]) if f.type is bool)
