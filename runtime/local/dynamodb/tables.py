"""One table, pure: its items, what expires, and the stream that is told of every change. `now`: seconds since the epoch.

Time to live: an item is deleted as soon as it has expired, where AWS takes its time; one that expired over five years ago is
kept, as AWS does. Whoever looks at a table or its stream first calls `advance`, which lets what is due happen.
"""

import heapq
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from runtime.local.dynamodb.conditions import Condition, KeyTest
from runtime.local.dynamodb.indexes import Index, KeyAttribute
from runtime.local.dynamodb.refusals import invalid
from runtime.local.dynamodb.streams import Change, Stream
from runtime.local.dynamodb.updates import Update
from runtime.local.dynamodb.values import LARGEST_ITEM, Item, Value, identity, is_same, order, size_of
from runtime.local.errors import Refused

_INVALID: Final = "One or more parameter values were invalid: "
_TOO_OLD: Final = 5 * 365 * 24 * 3600
_MOST_BYTES: Final = 1024 * 1024
"""Of items that one page of a scan or query looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Items of a scan or query, and the key after which the next page begins."""

    items: list[Item]
    last: Item | None = None


class Table:
    def __init__(
        self,
        *,
        name: str,
        account: str,
        region: str,
        table_id: str,
        keys: tuple[KeyAttribute, ...],
        billing: dict[str, Any],
        now: float,
    ) -> None:
        self.name = name
        self.account = account
        self.region = region
        self.arn = f"arn:aws:dynamodb:{region}:{account}:table/{name}"
        self.id = table_id
        self.keys = keys
        """The partition key, and the sort key if there is one."""
        self.billing = billing
        """BillingMode and ProvisionedThroughput as they were given."""
        self.created = now
        self.stream: Stream | None = None
        """The newest, disabled or not."""
        self.indexes: dict[str, Index] = {}
        """Global secondary ones, by name."""
        self.ttl_attribute: str | None = None
        self._items: dict[Hashable, Item] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._pushes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def size(self) -> int:
        return sum(map(size_of, self._items.values()))

    # Keys

    def key_of(self, item: Mapping[str, Value]) -> Item:
        """The key of a whole item. Raises Refused."""
        for key in self.keys:
            if key.name not in item:
                raise invalid(_INVALID + f"Missing the key {key.name} in the item")
            kind = next(iter(item[key.name]))
            if kind != key.kind:
                raise invalid(_INVALID + f"Type mismatch for key {key.name} expected: {key.kind} actual: {kind}")
            if item[key.name][kind] == "":
                problem = f"The AttributeValue for a key attribute cannot contain an empty string value. Key: {key.name}"
                raise invalid(f"One or more parameter values are not valid. {problem}")
        return {key.name: item[key.name] for key in self.keys}

    def check_key(self, given: Item) -> Item:
        """A key that is one and nothing else. Raises Refused."""
        if len(given) != len(self.keys) or any(key.kind not in given.get(key.name, {}) for key in self.keys):
            raise invalid("The provided key element does not match the schema")
        return self.key_of(given)

    def check_item(self, item: Item) -> None:
        """Raises Refused for an item that cannot be put."""
        self.key_of(item)
        self._check_indexes(item)
        if size_of(item) > LARGEST_ITEM:
            raise invalid("Item size has exceeded the maximum allowed size")

    def _check_indexes(self, item: Item) -> None:
        for index in self.indexes.values():
            index.check(item)

    # Items

    def get(self, key: Item) -> Item | None:
        return self._items.get(_identity(key))

    def put(self, item: Item, condition: Condition | None, now: float) -> Item | None:
        """Gives the item that it replaces. Raises Refused."""
        self.check_item(item)
        keys = self.key_of(item)
        old = self.get(keys)
        _check(condition, old)
        self._write(Change(keys=keys, old=old, new=item), now)
        return old

    def update(self, key: Item, update: Update, condition: Condition | None, now: float) -> tuple[Item | None, Item]:
        """The item before and after; it is made if there is none. Raises Refused."""
        for part in self.keys:
            if part.name in update.attributes:
                raise invalid(_INVALID + f"Cannot update attribute {part.name}. This attribute is part of the key")
        old = self.get(key)
        _check(condition, old)
        new = update.apply(key if old is None else old)
        self._check_indexes(new)
        if size_of(new) > LARGEST_ITEM:
            raise invalid("Item size to update has exceeded the maximum allowed size")
        self._write(Change(keys=key, old=old, new=new), now)
        return old, new

    def delete(self, key: Item, condition: Condition | None, now: float) -> Item | None:
        """Gives the item that was there. Raises Refused."""
        old = self.get(key)
        _check(condition, old)
        self._write(Change(keys=key, old=old, new=None), now)
        return old

    def scan(self, *, limit: int | None, after: Item | None) -> Page:
        ordered = sorted(self._items.values(), key=self._place)
        if after is not None:
            ordered = [item for item in ordered if self._place(item) > self._place(after)]
        return self._page(ordered, limit)

    def query(self, tests: list[KeyTest], *, limit: int | None, after: Item | None, forward: bool) -> Page:
        found = [item for item in self._items.values() if all(test.holds(item) for test in tests)]
        if len(self.keys) > 1:
            sort_key = self.keys[1].name
            found.sort(key=lambda item: order(item[sort_key]), reverse=not forward)
            if after is not None:
                start = order(after[sort_key])
                found = [item for item in found if (order(item[sort_key]) > start if forward else order(item[sort_key]) < start)]
        elif after is not None:
            found = []
        return self._page(found, limit)

    def query_index(self, index: Index, tests: list[KeyTest], *, limit: int | None, after: Item | None, forward: bool) -> Page:
        entries = [entry for item in self._items.values() if (entry := index.entry(item, self.keys)) is not None]
        found = [entry for entry in entries if all(test.holds(entry) for test in tests)]
        found.sort(key=lambda entry: index.place(entry, self.keys), reverse=not forward)
        if after is not None:
            start = index.place(after, self.keys)
            found = [
                each
                for each in found
                if (index.place(each, self.keys) > start) is forward and index.place(each, self.keys) != start
            ]
        page = self._page(found, limit)
        return page if page.last is None else Page(items=page.items, last=index.key_of(page.items[-1], self.keys))

    def _place(self, item: Item) -> Any:
        return tuple(order(item[key.name]) for key in self.keys)

    def _page(self, found: list[Item], limit: int | None) -> Page:
        items: list[Item] = []
        size = 0
        for item in found:
            items.append(item)
            size += size_of(item)
            if len(items) == limit or size >= _MOST_BYTES:
                return Page(items=items, last=self.key_of(item))
        return Page(items=items)

    def _write(self, change: Change, now: float) -> None:
        """A change that changes nothing has no record (DDB-17)."""
        if is_same(change.old, change.new):
            return
        place = _identity(change.keys)
        if change.new is None:
            del self._items[place]
        else:
            self._items[place] = change.new
            self._watch(place, change.new)
        if self.stream is not None:
            self.stream.append(change, now)

    # Time to live

    def enable_ttl(self, attribute: str | None) -> None:
        """None: items live for ever."""
        self.ttl_attribute = attribute
        self._due.clear()
        for place, item in self._items.items():
            self._watch(place, item)

    def advance(self, now: float) -> None:
        """Deletes what has expired by now."""
        while self._due and self._due[0][0] <= now:
            due, _number, place = heapq.heappop(self._due)
            item = self._items.get(place)
            if item is not None and self._expires(item) == due and due > now - _TOO_OLD:
                self._expire(item, now)

    def expire(self, key: Item | None, now: float) -> int:
        """Deletes an item, or all that have an expiry time, as if their time had come; says how many."""
        expiring = [item for item in self._items.values() if self._expires(item) is not None]
        if key is not None:
            found = self.get(key)
            expiring = [] if found is None else [found]
        for item in expiring:
            self._expire(item, now)
        return len(expiring)

    def _expire(self, item: Item, now: float) -> None:
        self._write(Change(keys=self.key_of(item), old=item, new=None, by_ttl=True), now)

    def _expires(self, item: Item) -> float | None:
        number = item.get(self.ttl_attribute or "", {}).get("N")
        return None if number is None else float(Decimal(number))

    def _watch(self, place: Hashable, item: Item) -> None:
        due = self._expires(item)
        if due is not None:
            self._pushes += 1
            heapq.heappush(self._due, (due, self._pushes, place))


def _identity(key: Item) -> Hashable:
    return tuple(identity(value) for value in key.values())


def _check(condition: Condition | None, item: Item | None) -> None:
    if condition is not None and not condition(item or {}):
        raise Refused("ConditionalCheckFailedException", "The conditional request failed")
