"""What clients carry around for us: shard iterators and tokens of lists. Sealed: what we did not make is known as such."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
_SEAL: Final = 8
"""Bytes."""


class Iterator(msgspec.Struct, frozen=True, array_like=True, tag="i"):
    """A place in a shard: the next record is the first whose sequence number is not below `position`."""

    stream: int
    """The stream's number: one that is made anew under the same name has another."""
    account: str
    region: str
    name: str
    shard: str
    position: str
    issued: int
    """Milliseconds since the epoch."""
    serial: int
    """Iterators are counted, so that all that there are can be made to expire."""


class ListToken(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """Where a list of shards goes on."""

    account: str
    region: str
    name: str
    after: str
    issued: int
    """Milliseconds since the epoch."""
    filter: dict[str, str | int | float]


def seal(token: msgspec.Struct) -> str:
    body = msgspec.json.encode(token)
    return urlsafe_b64encode(blake2b(body, digest_size=_SEAL).digest() + body).decode()


def unseal(text: str, kind: type[T]) -> T | None:
    """None: it is not one of ours, or not of this kind."""
    try:
        found = msgspec.json.decode(urlsafe_b64decode(text.encode())[_SEAL:], type=kind)
    except (ValueError, msgspec.DecodeError):
        return None
    return found if seal(found) == text else None
