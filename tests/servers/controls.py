"""What only the embedded endpoint can be told (`/_local/`): to fail, to trim, to roll over. Others answer 404, which is an error here."""

from typing import Any

import aiohttp

from tests.servers.running import Server


class NotControllable(Exception):
    """The server has no such control call, or refuses it; the message is its answer."""


async def control(server: Server, path: str, **body: Any) -> dict[str, Any]:
    """`POST /_local/<path>` with a JSON object. Raises `NotControllable`."""
    async with aiohttp.ClientSession() as http, http.post(f"{server.endpoint_url}/_local/{path}", json=body) as response:
        if response.status not in (200, 201):
            raise NotControllable(f"{server.name}: {path}: {response.status} {await response.text()}")
        answer: dict[str, Any] = await response.json()
        return answer


async def set_fault(server: Server, fault: str, **aim: Any) -> None:
    """One fault, as `POST /_local/faults` takes it; aim it at a queue, stream or table of one's own: other tests use the server too."""
    await control(server, "faults", fault=fault, **aim)


async def clear_faults(server: Server) -> None:
    """All of them."""
    async with aiohttp.ClientSession() as http, http.delete(f"{server.endpoint_url}/_local/faults") as response:
        if response.status != 200:
            raise NotControllable(f"{server.name}: {response.status} {await response.text()}")
