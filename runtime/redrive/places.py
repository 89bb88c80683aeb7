"""Where messages lie: a queue, the objects of a bucket, a folder, a file. Only `remove` deletes anything.

A message of a queue is hidden from others from `fetch` to `close`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio

from pollers.record import Record
from pollers.source import QueueSource
from runtime.errors import UserError

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_TEN: Final = 10
_HIDDEN: Final = 120
"""Seconds, extended while the work goes on."""
_LAST_WORD: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it lies there."""

    name: str
    """What the user knows it by: the id, key, or file and line."""
    text: str
    """Its body."""
    record: Record | None = None
    """Of a queue."""
    problem: str = ""
    """Why there is no text."""


class Place(Protocol):
    """Holds messages. `fetch` is called once, `close` at the end in any case."""

    async def fetch(self, limit: int) -> list[Message]:
        """Raises UserError or SourceError when nothing can be read."""
        ...

    async def keep(self) -> None:
        """Runs beside the work until it is cancelled: what was fetched stays ours."""
        ...

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        """Delete messages whose records succeeded; gives what went wrong."""
        ...

    async def close(self) -> list[str]:
        """Let go of what was not removed; gives what went wrong."""
        ...


@dataclass(slots=True, kw_only=True)
class QueuePlace:
    """A queue."""

    queue: QueueSource
    _held: dict[str, Record] = field(default_factory=dict)
    """By message id; the last handle is the one that counts."""

    async def fetch(self, limit: int) -> list[Message]:
        found: dict[str, Message] = {}
        while len(found) < limit:
            with anyio.CancelScope(shield=True):  # what a cancelled receive had been given would stay hidden
                records = await self.queue.receive(limit=min(_TEN, limit - len(found)), wait=1, visibility=_HIDDEN)
            if not records:
                break
            for record in records:
                self._held[record.id] = record
                found[record.id] = Message(name=record.id, text=record.content["body"], record=record)
        return list(found.values())

    async def keep(self) -> None:
        while True:
            await anyio.sleep(_HIDDEN / 3)
            await self.queue.extend(list(self._held.values()), _HIDDEN)

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        records = [self._held.pop(message.record.id) for message in messages if message.record is not None]
        refused = await self.queue.delete(records)
        return [f"message {each.record.id} succeeded but could not be deleted: {each.code} {each.message}" for each in refused]

    async def close(self) -> list[str]:
        with anyio.move_on_after(_LAST_WORD, shield=True):
            refused = await self.queue.extend(list(self._held.values())[::-1], 0)
            kept = [each for each in refused if not each.gone]
            return [f"{len(kept)} messages could not be given back at once: they show again within {_HIDDEN} s"] if kept else []
        return [f"{len(self._held)} messages could not be given back at once: they show again within {_HIDDEN} s"]


@dataclass(slots=True, kw_only=True)
class BucketPlace:
    """The objects of a bucket whose keys begin with a prefix."""

    client: "S3Client"
    bucket: str
    prefix: str

    async def fetch(self, limit: int) -> list[Message]:
        keys: list[str] = []
        more: dict[str, Any] = {}
        try:
            while len(keys) < limit:
                page = await self.client.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, **more)
                keys += [each["Key"] for each in page.get("Contents", [])]
                if not page.get("IsTruncated"):
                    break
                more = {"ContinuationToken": page["NextContinuationToken"]}
        except Exception as error:
            raise UserError(f"s3://{self.bucket}/{self.prefix}: the objects cannot be listed: {error}") from error
        return [await self._read(key) for key in keys[:limit]]

    async def _read(self, key: str) -> Message:
        name = f"s3://{self.bucket}/{key}"
        try:
            answer = await self.client.get_object(Bucket=self.bucket, Key=key)
            async with answer["Body"] as stream:
                return Message(name=name, text=(await stream.read()).decode())
        except UnicodeDecodeError:
            return Message(name=name, text="", problem="the object is not UTF-8 text")
        except Exception as error:  # noqa: BLE001  # one object; the others may be readable
            return Message(name=name, text="", problem=f"the object cannot be read: {error}")

    async def keep(self) -> None:
        """Objects stay where they are."""

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        problems = []
        for message in messages:
            try:
                await self.client.delete_object(Bucket=self.bucket, Key=message.name.split("/", 3)[3])
            except Exception as error:  # noqa: BLE001  # as above
                problems.append(f"{message.name} succeeded but could not be deleted: {error}")
        return problems

    async def close(self) -> list[str]:
        return []


@dataclass(slots=True, kw_only=True)
class FilePlace:
    """A file of messages, one JSON document a line or one in all, or a folder of such files."""

    path: Path
    _lines: dict[Path, list[str]] = field(default_factory=dict)
    _removed: dict[Path, set[int]] = field(default_factory=dict)

    async def fetch(self, limit: int) -> list[Message]:
        files = sorted(each for each in self.path.rglob("*") if each.is_file()) if self.path.is_dir() else [self.path]
        messages: list[Message] = []
        for file in files:
            messages += self._read(file)
        return messages[:limit]

    def _read(self, file: Path) -> list[Message]:
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            if self.path.is_dir():
                return [Message(name=str(file), text="", problem=f"the file cannot be read: {error.strerror or error}")]
            raise UserError(f"{file}: the file cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError:
            return [Message(name=str(file), text="", problem="the file is not UTF-8 text")]
        lines = text.splitlines(keepends=True)
        one = text.lstrip()[:1] == "{" and sum(line[:1] == "{" for line in lines) == 1
        self._lines[file] = [text] if one else lines
        return [
            Message(name=f"{file}:{number}", text=line) for number, line in enumerate(self._lines[file], start=1) if line.strip()
        ]

    async def keep(self) -> None:
        """Nobody else takes them."""

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        """Noted; the files are written anew at the end."""
        for message in messages:
            file, _, number = message.name.rpartition(":")
            self._removed.setdefault(Path(file), set()).add(int(number))
        return []

    async def close(self) -> list[str]:
        problems = []
        for file, removed in self._removed.items():
            left = [line for number, line in enumerate(self._lines[file], start=1) if number not in removed]
            try:
                if "".join(left).strip():
                    beside = file.with_name(f"{file.name}.left")
                    beside.write_text("".join(left), encoding="utf-8")
                    os.replace(beside, file)  # noqa: PTH105  # in one step, whatever happens
                else:
                    file.unlink()
            except OSError as error:
                problems.append(f"{file}: what succeeded could not be taken out: {error.strerror or error}")
        return problems
