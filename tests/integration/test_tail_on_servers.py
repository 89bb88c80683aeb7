"""The real `esm tail` on every server: what a stream holds, what comes into it, and what a worker makes of it."""

from pathlib import Path

import pytest

from tests.acceptance.stream_site import stream_function, stream_mapping, stream_site
from tests.acceptance.test_tail import free_port, tailing
from tests.acceptance.worker_process import Site, process_on
from tests.servers.behaviour import Service
from tests.servers.queues import queue_on
from tests.servers.running import Server
from tests.servers.streams import StreamHandle, stream_on
from tests.servers.tables import table_on

INDEPENDENT = pytest.mark.on_servers("ministack", "kinesis-mock", "kinesalite", "moto", "elasticmq", "localstack")
"""The embedded endpoint has its own tests, in tests/acceptance."""


@INDEPENDENT
async def test_a_stream_is_looked_at_and_a_worker_on_it_too(stream_server: tuple[Service, Server], tmp_path: Path) -> None:
    service, server = stream_server
    async with stream_on(server) if service is Service.KINESIS else table_on(server) as handle:
        arn = handle.arn if isinstance(handle, StreamHandle) else handle.stream_arn
        await handle.put("old")
        with tailing(Site(tmp_path), server.endpoint_url, arn, "-v", "--json", "--from", "TRIM_HORIZON") as source:
            await source.wait_line("record")
            await handle.put("new")
            await source.wait(lambda: len(source.lines("record")) == 2, "both records")
            assert await source.interrupt() == 0
        http = f"127.0.0.1:{free_port()}"
        site = stream_site(tmp_path, {"f": stream_function("works")}, [stream_mapping("m", arn)], http=http)
        async with process_on(site, server.endpoint_url) as worker:
            await worker.wait_ready()
            with tailing(site, server.endpoint_url, "m", "--json", "-v") as mapping:
                await mapping.wait_line("watching", arn=arn)
                await handle.put("newest")
                ended = await mapping.wait_line("invocation_ended", outcome="succeeded")
                assert [each["fate"] for each in ended["details"]] == ["done"] * ended["records"]
                assert await mapping.interrupt() == 0


@INDEPENDENT
async def test_a_queue_is_peeked_at_and_stays_as_it_was(sqs_server: Server, tmp_path: Path) -> None:
    async with queue_on(sqs_server, attributes={"VisibilityTimeout": "30"}) as queue:
        await queue.send("one", "two")
        with tailing(Site(tmp_path), sqs_server.endpoint_url, queue.arn, "--peek", "-v", "--json") as tail:
            await tail.wait(lambda: len({line["id"] for line in tail.lines("record")}) == 2, "both messages")
            assert await tail.interrupt() == 0
        await queue.wait_counts(visible=2)
