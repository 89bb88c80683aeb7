"""The servers: one row each. What is said of their behaviour was seen in the pinned versions; look again when raising one."""

import sys

from tests.servers.behaviour import Behaviour, DynamodbBehaviour, KinesisBehaviour, Service
from tests.servers.node_servers import KINESALITE, KINESIS_MOCK
from tests.servers.spec import (
    ACCOUNT,
    REGION,
    Launch,
    MavenArtifact,
    MavenProject,
    Patch,
    Place,
    Program,
    PythonPackages,
    ServerSpec,
    python_of,
)


def _local(place: Place) -> Launch:
    return Launch(
        command=(sys.executable, "-m", "runtime", "endpoint", "--port", str(place.port)),
        environment={"PYTHONPATH": str(place.home)},
    )


LOCAL = ServerSpec(
    name="local",
    version="",
    speaks=frozenset(Service),
    install=None,
    installs_on_first_use=True,
    launch=_local,
    health="/_local/health",
    notes=("the project's own embedded endpoint: a test that passes only here proves little",),
)


def _ministack(place: Place) -> Launch:
    return Launch(
        command=(python_of(place.home), "-m", "ministack"),
        environment={
            "GATEWAY_PORT": str(place.port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "LOG_LEVEL": "WARNING",
        },
    )


MINISTACK = ServerSpec(
    name="ministack",
    version="1.5.33",
    speaks=frozenset(Service),
    install=PythonPackages(requirements=("ministack==1.5.33",)),
    installs_on_first_use=True,
    launch=_ministack,
    health="/_ministack/health",
    behaviour=Behaviour(
        gives_earlier_while_later_in_flight=False,
        expires_fifo_handles=False,
        second_delete_ok=False,
        reports_not_inflight=False,
        checks_visibility_limit=False,
    ),
    kinesis=KinesisBehaviour(
        ends_split_shards=False,
        child_shards=False,
        pages_list_shards=False,
        refuses_future_timestamps=False,
        refuses_bad_sequence_numbers=False,
        refuses_garbage_iterators=False,
        ends_pushed_shards=False,
    ),
    dynamodb=DynamodbBehaviour(
        ends_empty_shards=False,
        hexadecimal_event_ids=False,
        several_open_shards=False,
        rolls_over_shards=False,
        ttl_user_identity=False,
    ),
    notes=(
        "a stale handle is refused with ReceiptHandleIsInvalid",
        "WaitTimeSeconds over 20 is accepted",
        "resharding deletes the parents with what was not read yet",
        "time to live deletes without a stream record; SizeBytes of a record can be 0",
        "a long poll looks every 0.1 s",
        "its own event source mappings poll too: never create an enabled one",
    ),
)

# The pins are what 4.12.0 still works with; upstream is frozen.
_LOCALSTACK_REQUIREMENTS = (
    "localstack-core[runtime]==4.12.0",
    "moto-ext==5.1.18.post6",
    "cbor2==5.7.1",
    "pyopenssl==25.3.0",
    "cryptography<47",
    "service-identity<25",
)
_LOCALSTACK_PATCHES = (
    # It uses names in annotations before they are defined, which Python minds up to 3.12.
    Patch(
        file="localstack/packages/api.py",
        old="import abc\nimport functools\n",
        new="from __future__ import annotations\n\nimport abc\nimport functools\n",
    ),
    # It listens on every interface whatever GATEWAY_LISTEN says.
    Patch(
        file="localstack/runtime/server/twisted.py",
        old="TCP4ServerEndpoint(reactor, host_and_port.port)",
        new="TCP4ServerEndpoint(reactor, host_and_port.port, interface=host_and_port.host)",
    ),
)


def _localstack(place: Place) -> Launch:
    return Launch(
        command=(python_of(place.home), "-m", "localstack.runtime.main"),
        environment={
            "GATEWAY_LISTEN": f"127.0.0.1:{place.port}",
            "LOCALSTACK_VOLUME_DIR": str(place.folder / "volume"),
            "FILESYSTEM_ROOT": str(place.folder / "root"),
            "SERVICES": "sqs",
            "EAGER_SERVICE_LOADING": "1",  # else the first request takes four seconds
            "DNS_ADDRESS": "0",  # no DNS server
            "DISABLE_EVENTS": "1",
            "SKIP_SSL_CERT_DOWNLOAD": "1",
        },
    )


LOCALSTACK = ServerSpec(
    name="localstack",
    version="4.12.0",
    speaks=frozenset({Service.SQS}),
    install=PythonPackages(requirements=_LOCALSTACK_REQUIREMENTS, patches=_LOCALSTACK_PATCHES),
    installs_on_first_use=False,
    launch=_localstack,
    health="/_localstack/health",
    health_says='"sqs": "running"',
    behaviour=Behaviour(
        stale_delete_keeps=False,
        reports_not_inflight=False,
        checks_visibility_limit=False,
        long_poll_waits_on_redrive=False,
        exact_visibility=False,
        visibility_slack_seconds=2.0,
    ),
    notes=(
        "QueueUrl in its answers holds a host name that does not resolve: build URLs from the endpoint",
        "visibility and delay run on a timer of one second",
        "an expired FIFO handle is refused with InvalidParameterValue",
        "its Kinesis is kinesis-mock 0.5.2, which it would fetch with npm at the start of every run: not used",
        "its DynamoDB is DynamoDB Local, which is not used",
    ),
)


def _elasticmq(place: Place) -> Launch:
    config = f"""\
node-address {{ protocol = http, host = "127.0.0.1", port = {place.port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {place.port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
generate-node-address = false
queues {{}}
queues-storage {{ enabled = false }}
messages-storage {{ enabled = false }}
aws {{ region = "{REGION}", accountId = "{ACCOUNT}" }}
"""
    # A small program with a short life: the first three shorten its start by a third, the next two keep it inside its folder.
    options = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", f"-Djava.io.tmpdir={place.folder}")
    main = "org.elasticmq.server.Main"
    return Launch(
        command=("java", *options, "-Dconfig.file=elasticmq.conf", "-cp", f"{place.home}/lib/*", main),
        files={"elasticmq.conf": config},
    )


ELASTICMQ = ServerSpec(
    name="elasticmq",
    version="1.7.1",
    speaks=frozenset({Service.SQS}),
    install=MavenArtifact(group="org.elasticmq", artifact="elasticmq-server_2.13", version="1.7.1"),
    needs=("java", "mvn"),
    installs_on_first_use=False,
    launch=_elasticmq,
    health="/health",
    behaviour=Behaviour(
        expires_fifo_handles=False,
        second_delete_ok=False,
        reports_not_inflight=False,
        checks_visibility_limit=False,
    ),
    notes=(
        "a stale handle is refused with ReceiptHandleIsInvalid",
        "an empty receive answers an empty list of messages where AWS leaves the list out",
        "limits are refused with InvalidAttributeValue; SequenceNumber counts from 0 and is missing in SendMessageBatch",
        "SenderId is an IP address",
    ),
)


def _moto(place: Place) -> Launch:
    return Launch(command=(python_of(place.home), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(place.port)))


MOTO = ServerSpec(
    name="moto",
    version="5.2.5",
    speaks=frozenset(Service),
    install=PythonPackages(requirements=("moto[server]==5.2.5",)),
    installs_on_first_use=False,
    launch=_moto,
    health="/moto-api/",
    behaviour=Behaviour(
        fifo_ok=False,
        gives_earlier_while_later_in_flight=False,
        expires_fifo_handles=False,
        increasing_sequence_numbers=False,
        stale_delete_keeps=False,
        reports_not_inflight=False,
    ),
    kinesis=KinesisBehaviour(
        ends_split_shards=False,
        child_shards=False,
        pages_list_shards=False,
        refuses_future_timestamps=False,
        refuses_bad_sequence_numbers=False,
        refuses_garbage_iterators=False,
        pushes_records=False,
        refuses_unknown_subscriptions=False,
        refuses_early_subscriptions=False,
        ends_pushed_shards=False,
    ),
    dynamodb=DynamodbBehaviour(
        atomic_writes=False,
        ends_disabled_streams=False,
        ends_empty_shards=False,
        refuses_unknown_shards=False,
        silent_when_unchanged=False,
        several_open_shards=False,
        rolls_over_shards=False,
        ttl_user_identity=False,
    ),
    notes=(
        "a second opinion on standard queues and on start-up, no more",
        "receive is quadratic in the depth of the queue: 18 records a second with 1,000 queued",
        "batches of more than 10 entries are accepted",
        "a shard that was split stays open and takes all records",
        "sequence numbers of Kinesis are 1, 2, 3; iterators never expire",
        "DeadLetterQueueSourceArn is missing",
        "a condition is read and its item written (a name looked up, its table made) by threads without a lock: two may both win",
    ),
)

SERVERS = {spec.name: spec for spec in (LOCAL, MINISTACK, KINESIS_MOCK, KINESALITE, LOCALSTACK, ELASTICMQ, MOTO)}

KCL = Program(
    name="kcl",
    version="3.5.1",
    install=MavenProject(folder="tests/kcl/java", properties=("kcl.version=3.5.1",)),
    needs=("java", "mvn"),
)
"""The Kinesis Client Library as a worker beside ours: `tests/kcl/README.md`."""

PROGRAMS = {program.name: program for program in (KCL,)}
