"""What every source gives: records. Frozen values; a source fills them once and nobody changes them."""

from typing import Any, NewType

import msgspec

RecordId = NewType("RecordId", str)
"""How a handler names a record in `itemIdentifier`: the message id of a queue, the sequence number of a stream."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One item of a batch.

    `event` is the record as the Lambda event shows it (`spec/events/`), owned by this record alone: a handler may change what
    it is given, so a source whose records can be invoked twice copies it in its `envelope`.
    """

    id: RecordId
    event: dict[str, Any]
    size: int
    """Bytes of `event` as compact UTF-8 JSON: what counts against the request limit (COM-11)."""
    arrived: float
    """When the record entered the source: seconds since the epoch, by the source's clock; 0 where the source does not say."""
    group: str | None = None
    """What order is kept by (a message group, a partition key); None where there is no order."""
    handle: str = ""
    """How the source knows this delivery of the record (the receipt handle of a queue)."""
