"""Credentials as a session has them, and new ones when a service refuses them.

The SDK refreshes what tells when it expires. What does not, such as a file that somebody else keeps up to date, it reads once; so
when a service refuses credentials, the chain of providers is asked anew.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import anyio
from aiobotocore.credentials import AioCredentials
from botocore import exceptions as boto

from pollers.aws.lean.signing import Credentials

REFUSED: Final = frozenset({
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId",
    "InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired",
})  # fmt: skip
"""Codes with which a service refuses credentials; with such a code a request was not acted on."""
_LOOK: Final = 1.0
"""Seconds for which credentials are taken without asking whether they are about to expire; the SDK refreshes minutes before."""
_BREAKS: Final = frozenset("\r\n\0")
"""What would end a header, as after a secret that was read from a file with its last line break."""
_ASK: Final = 5.0
"""Seconds between two questions to the chain of providers."""


class SessionCredentials:
    """Of one session; all its clients share them."""

    def __init__(
        self, session: Any, *, hand_out: Callable[[Any], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`hand_out` is given what takes the place of the session's own credentials, for clients that have those already."""
        self._session = session
        self._hand_out = hand_out
        self._clock = clock
        self._source: Any = None
        self._current: Credentials | None = None
        self._looked = -_LOOK
        self._asked: float | None = None
        self._asking = anyio.Lock()  # many requests are refused at one moment; one question serves them all

    @property
    def fresh(self) -> Credentials | None:
        """Those that `current` gave a moment ago; None when it must be asked."""
        return self._current if self._clock() - self._looked < _LOOK else None

    async def current(self) -> Credentials | None:
        """None when there are none. Raises what the SDK raises when they cannot be had."""
        if (fresh := self.fresh) is not None:
            return fresh
        now = self._clock()
        if self._source is None:
            self._source = await self._session.get_credentials()
        if self._source is None:
            return None
        self._note(await self._source.get_frozen_credentials())
        self._looked = now
        return self._current

    async def renewed(self, refused: Credentials) -> Credentials | None:
        """Others than the `refused` ones, if there are any now."""
        async with self._asking:
            if self._current != refused:
                return self._current
            now = self._clock()
            if self._asked is None or now - self._asked >= _ASK:
                self._asked = now
                fresh = await self._session.get_component("credential_provider").load_credentials()
                if fresh is not None:
                    self._adopt(fresh, await fresh.get_frozen_credentials())
            return self._current if self._current != refused else None

    def _adopt(self, source: Any, frozen: Any) -> None:
        """The SDK's own clients hold on to the object that they were made with: it is brought up to date, or replaced."""
        self._note(frozen)
        old = self._source
        if isinstance(old, AioCredentials) and isinstance(source, AioCredentials):
            old.access_key, old.secret_key, old.token = frozen.access_key, frozen.secret_key, frozen.token
        else:
            self._source = source
            self._hand_out(source)

    def _note(self, frozen: Any) -> None:
        """Equal ones stay the same object: signing keys are kept by it."""
        seen = Credentials(frozen.access_key, frozen.secret_key, frozen.token)
        for part, text in (("access key", seen.access_key), ("token", seen.token or "")):
            if not _BREAKS.isdisjoint(text):
                raise boto.CredentialRetrievalError(provider="the session", error_msg=f"the {part} has a line break in it")
        if seen != self._current:
            self._current = seen
