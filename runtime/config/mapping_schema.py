"""The keys of a mapping in `esm.yaml`, their types and their limits: the part of `schema` about mappings.

One type holds the parameters of every source; which of them a source takes is in `pollers.SPECS`. `extra={"aws": ...}` is AWS's
text for a value that is out of its range, `extra={"range": ...}` is that range in words where it has a gap.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field, structs

Text = str | int | float | bool
"""Text where CloudFormation also takes a bare number or boolean; it is read as the text that stands there."""


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """One filter (FLT-01)."""

    pattern: Annotated[
        str,
        Meta(
            max_length=4096,
            description="A pattern, as JSON text.",
            examples=["""'{"body": {"kind": ["order"]}}'"""],
            extra={"shape": "must be the text of a JSON object: put it in quotes"},
        ),
    ]


class FilterCriteria(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Which records the function gets: those that one of the filters matches (FLT-01..05); all, when there is none."""

    filters: Annotated[list[Filter], Meta(max_length=10)] = field(default_factory=list)


class ScalingConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """How far the mapping scales (API-25)."""

    maximum_concurrency: (
        Annotated[int, Meta(ge=2, le=1000, description="Most batches of this mapping at once (SQS-12).")] | UnsetType
    ) = UNSET


class ProvisionedPollerConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Provisioned mode (SQS-13). Not supported yet: only an empty block, which means off, is accepted."""

    minimum_pollers: Annotated[int, Meta(ge=2, le=200)] | UnsetType = UNSET
    # The sources of SQS-13 name 2 000 and 10 000; the newer one counts, for nothing that AWS takes is to be called wrong.
    maximum_pollers: Annotated[int, Meta(ge=2, le=10_000)] | UnsetType = UNSET


class OnFailure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Where the metadata of discarded records goes (DST-03)."""

    destination: Annotated[
        str,
        Meta(
            max_length=350,
            description="ARN of a standard SQS queue, a standard SNS topic or an S3 bucket; beyond AWS also of a Lambda function "
            "or an EventBridge bus. An empty text is none (DST-04).",
            examples=["arn:aws:sqs:eu-west-1:123456789012:orders-failed"],
        ),
    ] = ""


class DestinationConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """What becomes of records that are given up (DST-01)."""

    on_failure: OnFailure = field(default_factory=OnFailure)


class MetricsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """Accepted without effect: metrics are always on."""

    metrics: Annotated[list[Literal["EventCount", "ErrorCount", "KafkaMetrics"]], Meta(max_length=3)] = field(
        default_factory=list
    )


class Tag(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """A tag as CloudFormation writes it."""

    key: Text
    value: Text = ""


class Mapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """One source tied to one function: AWS's event source mapping (SQS-01, KIN-01, DDB-01)."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            pattern="^[A-Za-z0-9_.-]+$",
            description="What logs and metrics call it, and what the positions of a stream are kept under; "
            "default: made from the source's name and the function's.",
            extra={"must": "consist of letters, digits, ., - and _"},
        ),
    ] = field(name="name", default="")
    function_name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="A key of `functions`, or the full or partial ARN of one, with an optional :qualifier (API-10).",
            examples=["orders"],
        ),
    ]
    event_source_arn: Annotated[
        str,
        Meta(
            min_length=1,
            description="The ARN of an SQS queue, a Kinesis stream or a DynamoDB stream (API-11).",
            examples=["arn:aws:sqs:eu-west-1:123456789012:orders"],
        ),
    ]
    enabled: Annotated[bool, Meta(description="false keeps the mapping without running it (API-12).")] = True
    batch_size: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=10_000,
                description="Most records in one invocation. Queues: default 10, FIFO at most 10, above 10 only with a batching "
                "window (SQS-02, SQS-03). Streams: default 100 (KIN-01).",
            ),
        ]
        | UnsetType
    ) = UNSET
    maximum_batching_window_in_seconds: Annotated[
        int, Meta(ge=0, le=300, description="How long a batch may be gathered; not for FIFO (API-14, SQS-04).")
    ] = 0
    function_response_types: Annotated[
        list[Literal["ReportBatchItemFailures"]],
        Meta(max_length=1, description="Lets the function name the records that failed (API-23)."),
    ] = field(default_factory=list)
    scaling_config: ScalingConfig = field(default_factory=ScalingConfig)
    filter_criteria: FilterCriteria = field(default_factory=FilterCriteria)
    provisioned_poller_config: ProvisionedPollerConfig = field(default_factory=ProvisionedPollerConfig)
    metrics_config: MetricsConfig = field(default_factory=MetricsConfig)
    kms_key_arn: Annotated[str, Meta(description="Accepted without effect: all it encrypts in AWS is FilterCriteria.")] = field(
        name="KMSKeyArn", default=""
    )
    kms_key_arn_of_cloudformation: Annotated[str, Meta(description="CloudFormation's spelling of KMSKeyArn.")] = field(
        name="KmsKeyArn", default=""
    )
    tags: Annotated[dict[str, Text] | list[Tag], Meta(description="Accepted without effect.")] = field(default_factory=dict)
    starting_position: (
        Annotated[
            Literal["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"],
            Meta(
                description="Streams, required: where reading begins in the shards that exist when the mapping first runs; "
                "AT_TIMESTAMP only for Kinesis (API-16, COM-69).",
                extra={
                    "aws": "1 validation error detected: Value '{value}' at 'startingPosition' failed to satisfy constraint: "
                    "Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, TRIM_HORIZON]"
                },
            ),
        ]
        | UnsetType
    ) = UNSET
    starting_position_timestamp: (
        Annotated[
            float | str,
            Meta(
                description="With AT_TIMESTAMP: seconds since the epoch, or an ISO 8601 time; one without a zone is UTC. "
                "Not in the future (API-17)."
            ),
        ]
        | UnsetType
    ) = UNSET
    parallelization_factor: Annotated[
        int, Meta(ge=1, le=10, description="Streams: most batches of a shard at once, ordered by key (API-15, COM-61).")
    ] = 1
    bisect_batch_on_function_error: Annotated[
        bool, Meta(description="Streams: split a batch that failed, and try the halves one by one (API-21, COM-75).")
    ] = False
    maximum_retry_attempts: Annotated[
        int,
        Meta(ge=-1, le=10_000, description="Streams: retries of a batch after its first invocation; -1 is no limit (API-20)."),
    ] = -1
    maximum_record_age_in_seconds: Annotated[
        int,
        Meta(
            ge=-1,
            le=604_800,
            description="Streams: older records are discarded; -1 (no limit) or 60 to 604800 (API-19).",
            extra={
                "range": "-1 (no limit) or 60 to 604800",
                "aws": "MaximumRecordAgeInSeconds must be either -1 (forever) or between 60 and 604800 (inclusive)",
            },
        ),
    ] = -1
    tumbling_window_in_seconds: Annotated[
        int, Meta(ge=0, le=900, description="Streams: length of the windows that state is kept for; 0 is off (API-22).")
    ] = 0
    destination_config: DestinationConfig = field(default_factory=DestinationConfig)
    read_share: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Streams: the part of the service's read rate of a shard that this mapping may use; "
            "less than 1 leaves the rest to other readers.",
        ),
    ] = field(name="read_share", default=1.0)


STREAM_KEYS: Final = frozenset({"read_share"})
"""Keys of ours that only mappings of streams have."""
_ANYWHERE: Final = frozenset({"name", "KmsKeyArn"})
PARAMETERS: Final = frozenset(item.encode_name for item in structs.fields(Mapping)) - STREAM_KEYS - _ANYWHERE
"""AWS's parameters of the supported sources."""

_OTHERS: Final = (
    "AmazonManagedKafkaEventSourceConfig DocumentDBEventSourceConfig LoggingConfig Queues SelfManagedEventSource "
    "SelfManagedKafkaEventSourceConfig SourceAccessConfigurations Topics"
)
OTHER_SOURCES: Final = frozenset(_OTHERS.split())
"""Parameters that no supported source takes (API-27..API-29)."""

RESOURCE: Final = "Condition DeletionPolicy DependsOn Metadata UpdateReplacePolicy"
"""Keys around the properties of a resource in a template."""

MAPPING_STRANGERS: Final[dict[str, str]] = {
    **dict.fromkeys(RESOURCE.split(), "has no meaning here and can be removed"),
    "Queue": "is SAM's key for a queue: give its ARN as EventSourceArn",
    "Stream": "is SAM's key for a stream: give its ARN as EventSourceArn",
    "Type": "has no meaning here and can be removed: this block holds what stands below Properties in a template",
    "Properties": "has no meaning here: move the keys below it up by one level",
    "DestinationConfig.OnFailure.Type": "has no meaning here and can be removed: the ARN says what it is",
}  # fmt: skip
"""Keys of SAM and CloudFormation, which people paste along, by their path; what to say of each."""
