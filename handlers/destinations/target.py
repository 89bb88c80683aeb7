"""The way to one destination: its client, the tries of a delivery, the time that each may take."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import anyio

from handlers.destinations.errors import DENIED, NO_CLIENT, NotTaken, to_destination_error
from handlers.destinations.failure import DestinationError, ProbeFinding

_PAUSES: Final = (0.0, 0.2, 1.0)
"""Seconds before each try of a delivery (DST-13: a few quick ones). The client itself repeats requests within a try."""
_TRY: Final = 10.0
"""Seconds that a try may take, with the client's own repetitions."""

Act = Callable[[Any], Awaitable[None]]
"""Makes one request with the client that it is given. Raises what the client raises, and NotTaken."""


class Clients(Protocol):
    """Makes aiobotocore clients; it keeps and closes them."""

    async def client(self, service: str, region: str, *, retries: bool) -> Any:
        """The client of a service in a region. `retries`: it repeats requests as the user's AWS settings say."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An operation of AWS, and what allows it."""

    operation: str
    permission: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One destination, as a client reaches it."""

    clients: Clients
    service: str
    region: str
    arn: str

    async def deliver(self, request: Request, act: Act) -> None:
        """Try until it is done. Raises DestinationError after the last try, or at once when no other try can help."""
        last: DestinationError | None = None
        for pause in _PAUSES:
            await anyio.sleep(pause)
            try:
                return await self._ask(request, act)
            except DestinationError as error:
                if error.lasting:
                    raise
                last = error
        raise DestinationError(f"{last} (tried {len(_PAUSES)} times)", code=last.code if last else "") from last

    async def probe(self, request: Request, act: Act) -> ProbeFinding | None:
        """Try once."""
        try:
            await self._ask(request, act)
        except DestinationError as error:
            unverified = error.code in DENIED
            return ProbeFinding(message=f"could not be verified: {error}" if unverified else str(error), unverified=unverified)
        return None

    async def _ask(self, request: Request, act: Act) -> None:
        try:
            with anyio.fail_after(_TRY):
                await act(await self._client())
        except Exception as error:
            raise to_destination_error(error, arn=self.arn, operation=request.operation, permission=request.permission) from error

    async def _client(self) -> Any:
        try:
            return await self.clients.client(self.service, self.region, retries=True)
        except Exception as error:
            raise NotTaken(NO_CLIENT, str(error)) from error
