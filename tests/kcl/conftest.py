"""The servers of the Java workers: their stream and their table."""

import pytest

from tests.servers.catalogue import SERVERS
from tests.servers.install import install
from tests.servers.running import RunningServers, Server


@pytest.fixture(scope="session")
def kinesis(running_servers: RunningServers) -> Server:
    install(SERVERS["kinesis-mock"], say=print)
    return running_servers.get("kinesis-mock")


@pytest.fixture(scope="session")
def dynamodb(running_servers: RunningServers) -> Server:
    install(SERVERS["ministack"], say=print)
    return running_servers.get("ministack")
