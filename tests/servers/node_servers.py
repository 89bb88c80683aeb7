"""The Kinesis servers that run on Node.js: two rows of the catalogue. Both work on 18 (Debian 12) and 20."""

from tests.servers.behaviour import KinesisBehaviour, Service
from tests.servers.spec import ACCOUNT, REGION, Launch, NpmPackage, Patch, Place, ServerSpec

_STEP = "20"
"""Milliseconds that creating or resharding a stream takes."""


def _kinesis_mock(place: Place) -> Launch:
    package = place.home / "node_modules" / "kinesis-local"
    steps = ("CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT", "REGISTER_STREAM_CONSUMER")
    return Launch(
        command=("node", str(package / "main.js")),
        environment={
            "KINESIS_MOCK_PLAIN_PORT": str(place.port),
            "KINESIS_MOCK_TLS_PORT": "0",  # it listens there too, whether anybody asks or not: any free port
            "KINESIS_MOCK_CERT_PATH": str(package / "server.json"),
            "AWS_ACCOUNT_ID": ACCOUNT,
            "AWS_REGION": REGION,
            "LOG_LEVEL": "WARN",
            "SHARD_LIMIT": "10000",
            **{f"{step}_DURATION": f"{_STEP}ms" for step in steps},
        },
    )


KINESIS_MOCK = ServerSpec(
    name="kinesis-mock",
    version="0.6.2",
    speaks=frozenset({Service.KINESIS}),
    install=NpmPackage(
        name="kinesis-local",
        version="0.6.2",
        patches=(
            # It listens on every interface, and no setting changes that.
            Patch(
                file="kinesis-local/main.js",
                old='$m_Lcom_comcast_ip4s_Host$().em("0.0.0.0")',
                new='$m_Lcom_comcast_ip4s_Host$().em("127.0.0.1")',
            ),
        ),
    ),
    needs=("node", "npm"),
    installs_on_first_use=True,
    launch=_kinesis_mock,
    health="/healthcheck",
    kinesis=KinesisBehaviour(
        refuses_future_timestamps=False,
        refuses_bad_sequence_numbers=False,
        refuses_garbage_iterators=False,
        refuses_early_subscriptions=False,
        refuses_unknown_subscriptions=False,
        ends_pushed_shards=False,
    ),
    notes=(
        "SubscribeToShard sends no initial-response, and never an event with children",
        "ListShards with AT_TRIM_HORIZON or AT_TIMESTAMP returns all shards",
        "a page of ListShards holds 100 shards unless told, where AWS's holds 1,000",
        "a limit of 10,001 is accepted",
    ),
)

ITERATOR_VARIABLE = "KINESALITE_ITERATOR_MS"
"""Of a kinesalite of one's own: how long its iterators live, in milliseconds, instead of five minutes."""


def _kinesalite(place: Place) -> Launch:
    package = place.home / "node_modules" / "kinesalite"
    steps = ("--createStreamMs", _STEP, "--updateStreamMs", _STEP, "--deleteStreamMs", _STEP)
    return Launch(
        command=("node", str(package / "cli.js"), "--port", str(place.port), *steps, "--shardLimit", "10000"),
        environment={"AWS_ACCOUNT_ID": ACCOUNT, "AWS_REGION": REGION},
    )


KINESALITE = ServerSpec(
    name="kinesalite",
    version="3.3.3",
    speaks=frozenset({Service.KINESIS}),
    install=NpmPackage(
        name="kinesalite",
        version="3.3.3",
        patches=(
            # It listens on every interface, and no option changes that.
            Patch(
                file="kinesalite/cli.js",
                old="listen(argv.port || 4567, function()",
                new="listen(argv.port || 4567, '127.0.0.1', function()",
            ),
            # An expired iterator in a second rather than in five minutes, for the test that asks for it.
            Patch(
                file="kinesalite/actions/getRecords.js",
                old="(now - iteratorTime) > 300000",
                new=f"(now - iteratorTime) > (+process.env.{ITERATOR_VARIABLE} || 300000)",
            ),
        ),
    ),
    needs=("node", "npm"),
    installs_on_first_use=True,
    launch=_kinesalite,
    health="/",
    health_status=403,  # whoever does not sign is refused: it is there
    kinesis=KinesisBehaviour(
        child_shards=False,
        pages_list_shards=False,
        milliseconds_behind=False,
        pushes_records=False,
        refuses_unknown_subscriptions=False,
        refuses_early_subscriptions=False,
        ends_pushed_shards=False,
    ),
    notes=(
        "no enhanced fan-out, no UpdateShardCount, no StreamARN",
        "it sends 7 MiB in one request at most",
    ),
)
