"""Messages in a file, one JSON document a line or one in all, or in a folder of such files.

The law: a file is written anew in one step, at the end, without what succeeded; whatever happens before leaves it as it was. What
somebody else wrote behind what was read is kept, and a file that was changed otherwise is left alone.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import UserError
from runtime.redrive.places import LARGEST, Message, Unreadable


@dataclass(slots=True)
class _Content:
    """Of a file, as it was read."""

    parts: list[bytes]
    """The messages and what lies between them: put together, they are the file."""
    removed: set[int] = field(default_factory=set)
    """Indices of parts."""

    @property
    def whole(self) -> bytes:
        return b"".join(self.parts)

    @property
    def left(self) -> bytes:
        return b"".join(part for number, part in enumerate(self.parts) if number not in self.removed)


class FilePlace:
    """A `Place`."""

    partial = ""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._contents: dict[Path, _Content] = {}
        self._unreadable: dict[str, str] = {}
        self._where: dict[str, tuple[Path, int]] = {}
        self._fetched = False

    async def fetch(self, limit: int) -> list[Message]:
        if self._fetched:
            return []
        self._fetched = True
        if not self._path.is_dir():
            return self._take_in(self._path)[:limit]
        found: list[Message] = []
        for file in sorted(each for each in self._path.rglob("*") if each.is_file()):
            if len(found) >= limit:
                break
            try:
                found += self._take_in(file)
            except UserError as error:
                self._unreadable[str(file)] = str(error)
                found.append(Message(name=str(file)))
        return found[:limit]

    def _take_in(self, file: Path) -> list[Message]:
        try:
            if file.stat().st_size > LARGEST and self._path.is_dir():
                raise UserError(f"{file}: the file has {file.stat().st_size:,} bytes: on-failure objects are smaller")
            content = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file}: the file cannot be read: {error.strerror or error}") from error
        lines = _lines(content)
        one = content.lstrip()[:1] == b"{" and sum(line[:1] == b"{" for line in lines) == 1
        self._contents[file] = _Content(parts=[content] if one else lines)
        found = []
        for number, part in enumerate(self._contents[file].parts):
            if part.strip():
                message = Message(name=f"{file}:{number + 1}")
                self._where[message.name] = file, number
                found.append(message)
        return found

    async def read(self, message: Message) -> str:
        if message.name in self._unreadable:
            raise Unreadable(self._unreadable[message.name])
        file, number = self._where[message.name]
        try:
            return self._contents[file].parts[number].decode()
        except UnicodeDecodeError:
            raise Unreadable("it is not UTF-8 text") from None

    async def keep(self) -> None:
        """Nobody else takes them."""

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        """Noted; the files are written anew at the end."""
        for message in messages:
            file, number = self._where[message.name]
            self._contents[file].removed.add(number)
        return []

    async def close(self) -> list[str]:
        problems = []
        for file, content in self._contents.items():
            if not content.removed:
                continue
            try:
                problems += self._write(file, content)
            except OSError as error:
                problems.append(f"{file}: what succeeded could not be taken out: {error.strerror or error}")
        return problems

    def _write(self, file: Path, content: _Content) -> list[str]:
        """A file of a folder goes when nothing is left in it; one that was named stays, empty."""
        now = file.read_bytes()
        if not now.startswith(content.whole):
            return [f"{file} was changed meanwhile: what succeeded was not taken out"]
        left = content.left + now[len(content.whole) :]
        if not left.strip() and self._path.is_dir():
            file.unlink()
            return []
        replace_content(file, left)
        return []


def _lines(content: bytes) -> list[bytes]:
    """With their ends; only line feeds end one: other characters that might may stand in a text."""
    lines = [line + b"\n" for line in content.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def replace_content(file: Path, content: bytes) -> None:
    """In one step, also if the machine stops: the file is the old one or the new one. Mode and links are kept. Raises OSError."""
    target = file.resolve()
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("xb") as new:
            new.write(content)
            new.flush()
            os.fsync(new.fileno())
        shutil.copymode(target, beside)
        os.replace(beside, target)  # noqa: PTH105  # as `Path.replace`, but its name says it
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
