"""The keys of `esm.yaml`, their types and their limits: the one place that says what is accepted.

`reading` checks a file against these types, `esm schema` prints a JSON Schema of them. Keys in PascalCase are AWS's own
(CloudFormation `AWS::Lambda::EventSourceMapping`, SAM `AWS::Serverless::Function`), keys in lower case are ours. Rules that
tie several keys together are in `functions`, `mappings` and `worker`, the types of a mapping in `mapping_schema`.
`extra={"must": ...}` says in words what a pattern asks for.
"""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from runtime.config.mapping_schema import RESOURCE, Mapping, Text

# --- functions ---------------------------------------------------------------------------------------------------------


class Environment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """What is added to the environment of the worker before handlers are imported."""

    variables: Annotated[
        dict[
            Annotated[
                str,
                Meta(
                    pattern="^[a-zA-Z][a-zA-Z0-9_]+$",
                    extra={"must": "start with a letter, go on with letters, digits and _, and have two of them at least"},
                ),
            ],
            Text,
        ],
        Meta(description="Environment variables by name; at most 4 KB for one function, as compact JSON."),
    ] = field(default_factory=dict)


class Function(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="pascal"):
    """A handler and what it may use."""

    handler: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=128,
            pattern=r"^([^\s:]+\.py:[^\W\d]\w*|[^\s:./]+([./][^\s:./]+)*\.[^\W\d]\w*)$",
            description="module.attribute, as in Lambda, or path/to/file.py:attribute.",
            examples=["shop.orders.handler", "path/to/file.py:handler"],
            extra={"must": "have the shape module.attribute or path/to/file.py:attribute"},
        ),
    ]
    code_uri: Annotated[
        str,
        Meta(
            min_length=1,
            description="Folder where modules are looked up, relative to this file; default: the folder of this file.",
            examples=["./src"],
        ),
    ] = "."
    timeout: Annotated[int, Meta(ge=1, le=900, description="Seconds that an invocation may take (COM-50).")] = 3
    memory_size: Annotated[int, Meta(ge=128, le=10240, description="MiB; only reported to the handler's context (COM-50).")] = 128
    reserved_concurrent_executions: (
        Annotated[
            int,
            Meta(ge=0, description="Most invocations at once in this worker, over all mappings; beyond it: throttled."),
        ]
        | UnsetType
    ) = UNSET
    environment: Environment = field(default_factory=Environment)


FunctionKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern="^[A-Za-z0-9_-]+$",
        description="A FunctionName.",
        extra={"must": "consist of letters, digits, - and _"},
    ),
]

_PASTED: Final = (
    "Architectures AssumeRolePolicyDocument AutoPublishAlias AutoPublishAliasAllProperties AutoPublishCodeSha256 "
    "CapacityProviderConfig CodeSha256 CodeSigningConfigArn DeadLetterConfig DeadLetterQueue DeploymentPreference Description "
    "DurableConfig EphemeralStorage EventInvokeConfig Events FileSystemConfigs FunctionScalingConfig FunctionUrlConfig "
    "ImageConfig KmsKeyArn KMSKeyArn Layers LoggingConfig PackageType PermissionsBoundary Policies PropagateTags "
    "ProvisionedConcurrencyConfig PublishToLatestPublished RecursiveLoop Role RolePath Runtime RuntimeManagementConfig SnapStart "
    "Tags TenancyConfig Tracing TracingConfig VersionDeletionPolicy VersionDescription VpcConfig"
)
FUNCTION_STRANGERS: Final[dict[str, str]] = {
    **dict.fromkeys([*_PASTED.split(), *RESOURCE.split()], "has no meaning here and can be removed"),
    "Code": "is not read here: unpack the code into a folder and name that folder in CodeUri",
    "CodeUrl": "is not a key of a function: did you mean CodeUri?",
    "ImageUri": "is not supported: handlers run from a folder, named in CodeUri",
    "InlineCode": "is not supported: put the code into a file and name it in Handler",
    "FunctionName": "has no meaning here and can be removed: the function's name is the key of its block",
    "Type": "has no meaning here and can be removed: this block holds what stands below Properties in a template",
    "Properties": "has no meaning here: move the keys below it up by one level",
}
"""Keys of SAM and CloudFormation functions (and of a resource around them), which people paste along; what to say of each."""

_RESERVED: Final = (
    "_HANDLER _X_AMZN_TRACE_ID AWS_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_EXECUTION_ENV "
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION "
    "AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_LAMBDA_MAX_CONCURRENCY "
    "AWS_LAMBDA_METADATA_API AWS_LAMBDA_METADATA_TOKEN AWS_LAMBDA_RUNTIME_API AWS_REGION AWS_SECRET_ACCESS_KEY "
    "AWS_SESSION_TOKEN LAMBDA_RUNTIME_DIR LAMBDA_TASK_ROOT"
)
RESERVED_VARIABLES: Final = frozenset(_RESERVED.split())
"""Set by Lambda itself and refused in a function's configuration (DG:configuration-envvars)."""

MAX_ENVIRONMENT_BYTES: Final = 4096
"""COM-50; Lambda measures the variables as one compact JSON object."""

# --- worker ------------------------------------------------------------------------------------------------------------


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the worker logs."""

    format: Annotated[
        Literal["auto", "console", "json"],
        Meta(description="auto: colours on a terminal, JSON lines elsewhere."),
    ] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Worker(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This process."""

    id: Annotated[
        str,
        Meta(
            max_length=128,
            pattern=r"^[!-~]*$",
            description="Name of this worker; default, also for an empty text: host name and a random suffix.",
            extra={"must": "consist of visible ASCII characters, without blanks"},
        ),
    ] = ""
    state: Annotated[
        str,
        Meta(
            description="Checkpoints and leases: memory://, sqlite:///PATH, or dynamodb://TABLE for workers on several machines. "
            "A PATH that starts with ./ or ../ is relative to where the worker runs. In TABLE, {mapping} is the mapping's name; "
            "?create=false leaves making it to you, &region=NAME puts it elsewhere than the source.",
            examples=["memory://", "sqlite:///var/lib/esm/state.db", "dynamodb://esm-{mapping}"],
        ),
    ] = "sqlite:///./.esm/state.db"
    http: Annotated[
        str,
        Meta(
            pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$",
            description="Metrics and health, HOST:PORT.",
            examples=["127.0.0.1:9090", "[::1]:9090"],
            extra={"must": "be HOST:PORT"},
        ),
    ] = "127.0.0.1:9090"
    client: Annotated[
        Literal["lean", "sdk"],
        Meta(
            description="How hot requests (receive, delete, extend, GetRecords) are made: lean, at a tenth of the CPU, with the "
            "SDK where the settings ask for what the lean client has not; or always by the SDK."
        ),
    ] = "lean"
    grace: Annotated[int, Meta(ge=0, le=3600, description="Seconds to drain.")] = 25
    on_destination_failure: Annotated[
        Literal["drop", "block"],
        Meta(
            description="Streams, when an on-failure destination refuses: drop the records with a log line and a count, as AWS "
            "does, or block: keep the shard where it is until they are delivered."
        ),
    ] = "drop"
    failover: Annotated[
        float, Meta(ge=1, le=300, description="Streams: seconds until a lease whose owner is silent may be taken.")
    ] = 10.0
    watchdog: Annotated[
        int, Meta(ge=30, le=86_400, description="Streams: seconds without a sign of life after which a shard is restarted.")
    ] = 300
    log: Log = field(default_factory=Log)


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`esm.yaml`."""

    functions: Annotated[dict[FunctionKey, Function], Meta(min_length=1, description="The functions by name.")]
    mappings: Annotated[list[Mapping], Meta(min_length=1, description="What runs them.")]
    worker: Worker = field(default_factory=Worker)
