"""Sequence numbers: 56 decimal digits that grow within a shard and from a shard to its children.

The layout follows what is known of AWS's (version 2), read as a hexadecimal number: `2`, the second of the shard's making (9
digits), the last digit of the shard's number, a count (16), `00`, the second of the record's arrival (9), the shard's number (8),
`2`. So a number says which shard it is of, and one that is of no shard here can be refused.
"""

from dataclasses import dataclass
from typing import Final

_FIELDS: Final = (
    ("head", 1),
    ("made", 9),
    ("nibble", 1),
    ("count", 16),
    ("zero", 2),
    ("second", 9),
    ("shard", 8),
    ("version", 1),
)
"""Names and widths, in hexadecimal digits."""
_DIGITS: Final = sum(width for _name, width in _FIELDS)
LAST: Final = 0x7FFF_FFFF_FFFF_FFFF
"""The count in the ending sequence number of a closed shard: above that of every record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """What a sequence number says."""

    made: int
    """When the shard was made: seconds since the epoch, later than its parents' at any rate."""
    shard: int
    count: int
    """0 is the shard's own starting number; records begin at 1."""
    second: int = 0
    """When the record arrived, seconds since the epoch; the lowest number with this count has 0."""

    @property
    def number(self) -> int:
        digits = f"2{self.made:09x}{self.shard & 0xF:x}{self.count:016x}00{self.second:09x}{self.shard:08x}2"
        return int(digits, 16)


def parse_sequence(text: str) -> Sequence:
    """Raises ValueError if the text is no sequence number of this layout."""
    digits = f"{int(text):x}"
    if len(digits) != _DIGITS:
        raise ValueError(text)
    found, start = {}, 0
    for name, width in _FIELDS:
        found[name] = int(digits[start : start + width], 16)
        start += width
    sequence = Sequence(made=found["made"], shard=found["shard"], count=found["count"], second=found["second"])
    if str(sequence.number) != text:
        raise ValueError(text)
    return sequence
