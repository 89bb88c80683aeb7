"""Receipt handles: opaque to clients, checkable without remembering any."""

import struct
from base64 import b64decode, b64encode
from typing import Final
from zlib import crc32

from runtime.local.errors import Refused

_LAYOUT: Final = struct.Struct(">16sQQ")


def make_handle(queue: bytes, number: int, mark: int) -> str:
    """A handle for message `number` of the queue with this 16-byte key; `mark` (64 bits) names the delivery."""
    packed = _LAYOUT.pack(queue, number, mark)
    return b64encode(packed + crc32(packed).to_bytes(4, "big")).decode()


def read_handle(queue: bytes, handle: str) -> tuple[int, int]:
    """Number and mark; raises ReceiptHandleIsInvalid for what this queue never gave out."""
    refused = Refused("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.')
    try:
        raw = b64decode(handle, validate=True)
    except ValueError:
        raise refused from None
    packed, check = raw[:-4], raw[-4:]
    if len(packed) != _LAYOUT.size or crc32(packed).to_bytes(4, "big") != check:
        raise refused
    key, number, mark = _LAYOUT.unpack(packed)
    if key != queue:
        raise refused
    return number, mark
