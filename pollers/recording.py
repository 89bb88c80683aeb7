"""Reads recordings (`docs/recordings.md`) and files of others like them, one by one or as folders.

Compressed files are known by their first bytes. What stands before a flaw is always given.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from pollers.compressed import decompressing
from pollers.recorded import Flaw, Item, Lineage, Recorded
from pollers.recording_file import FileReader

__all__ = ["Flaw", "Item", "Lineage", "Recorded", "RecordingReader", "read_document"]


class RecordingReader:
    """The records of a file or of a folder of files, in order of their names. Iterating opens and closes the files.

    A file is read until it ends or cannot be understood; then a `Flaw` follows what stood before it, and the next file is read.
    Of a folder, what is hidden (`.DS_Store`) is passed over, and so is what is no file.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError if there is nothing of that name."""
        self.path = path
        self._unreadable: list[Flaw] = []
        self._sizes = dict(self._walk()) if path.is_dir() else {path: path.stat().st_size}
        self.total_bytes = sum(self._sizes.values())
        self._done = 0
        self._raw: io.BufferedReader | None = None

    @property
    def read_bytes(self) -> int:
        """Of `total_bytes`, as they lie on disk."""
        return self._done + (self._raw.tell() if self._raw is not None and self._raw.seekable() else 0)

    def __iter__(self) -> Iterator[Item]:
        self._done = 0
        yield from self._unreadable
        for file, size in self._sizes.items():
            try:
                self._raw = file.open("rb")
            except OSError as error:
                yield _flaw(file, f"the file cannot be read: {error.strerror or error}")
            else:
                with self._raw:
                    yield from _read(file, self._raw)
            finally:
                self._raw = None
            self._done += size
        if not (self._sizes or self._unreadable):
            yield _flaw(self.path, "the folder is empty: there is nothing to read")

    def _walk(self) -> Iterator[tuple[Path, int]]:
        found = []
        for folder, folders, names in os.walk(self.path, onerror=self._note):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found += [Path(folder) / name for name in names if not name.startswith(".")]
        for file in sorted(found):
            try:
                if file.is_file():
                    yield file, file.stat().st_size
            except OSError as error:
                self._note(error, file)

    def _note(self, error: OSError, what: Path | None = None) -> None:
        place = what or Path(os.fsdecode(error.filename or self.path))
        self._unreadable.append(_flaw(place, f"it cannot be read: {error.strerror or error}"))


def read_document(name: str, content: bytes) -> Iterator[Item]:
    """What a file of that content would hold; `name` is what flaws call it."""
    return _read(name, io.BufferedReader(io.BytesIO(content)))


def _read(name: Path | str, raw: io.BufferedReader) -> Iterator[Item]:
    try:
        lines = decompressing(raw)
    except OSError as error:
        return iter([_flaw(name, f"the file cannot be read: {error.strerror or error}")])
    return FileReader(str(name), lines).items()


def _flaw(place: Path | str, message: str) -> Flaw:
    return Flaw(file=str(place), line=1, message=message)
