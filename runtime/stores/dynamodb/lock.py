"""The leader's lock row, as amazon-dynamodb-lock-client writes it: its values. Pure.

The law: a lock may be taken when it is not there, when it was released, or when its version has stood still before our own eyes
for as long as its holder said it would last. Nobody's clock is compared with anybody else's.
"""

from typing import Final

import msgspec

from runtime.stores.dynamodb import values
from runtime.stores.dynamodb.rows import ENTITY, KEY
from runtime.stores.dynamodb.values import BadRow, Item, Value

LEADER: Final = "Leader"
ENTITY_LEADER: Final = "LEADER"
OWNER_NAME: Final = "ownerName"
DURATION: Final = "leaseDuration"
VERSION: Final = "recordVersionNumber"
RELEASED: Final = "isReleased"
TIED: Final = "esmTied"
"""The version of a holder whose leases end with the lock. With another version it was left by a holder before."""


class LockRow(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    version: str
    """A random text, new with every heartbeat."""
    lasts: float
    """Seconds for which its holder need not be heard of."""
    released: bool = False
    tied: bool = False
    """Its holder works on no lease any longer than it beats the lock (`runtime.fleet`)."""

    def written(self) -> dict[str, Value]:
        """The whole row but its key."""
        return {
            ENTITY: values.text(ENTITY_LEADER),
            OWNER_NAME: values.text(self.owner),
            DURATION: values.text(str(round(self.lasts * 1000))),
            VERSION: values.text(self.version),
            **({TIED: values.text(self.version)} if self.tied else {}),
        }


def parse_lock(item: Item) -> LockRow:
    """Raises BadRow."""
    if values.text_of(item, KEY) != LEADER:
        raise BadRow(f"{KEY} is not {LEADER}")
    duration = values.needed_text(item, DURATION)
    if not duration.isdecimal():
        raise BadRow(f"{DURATION} is {duration!r}, not milliseconds")
    return LockRow(
        owner=values.needed_text(item, OWNER_NAME),
        version=values.needed_text(item, VERSION),
        lasts=int(duration) / 1000,
        released=values.text_of(item, RELEASED) is not None,
        tied=values.text_of(item, TIED) == values.needed_text(item, VERSION),
    )
