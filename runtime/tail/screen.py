"""Where lines go: a terminal, with colours; a pipe, without; or as JSON, where only that stands on stdout."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text


class Screen:
    """Made once for a command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(highlight=False) if sys.stdout.isatty() and not as_json else None
        if self._console is None:
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text file, unless a test puts another

    def lines(self, lines: Sequence[Text]) -> None:
        """What is read by people; nothing where JSON is asked for."""
        if self.as_json or not lines:
            return
        if self._console is None:
            print("\n".join(line.plain.rstrip() for line in lines), flush=True)
        else:
            self._console.print(Text("\n").join(lines), soft_wrap=True)

    def json(self, line: bytes) -> None:
        """What is read by programs; nothing where it is not asked for."""
        if self.as_json:
            print(line.decode(errors="backslashreplace"), flush=True)

    def remark(self, lines: Sequence[Text]) -> None:
        """About the source: for people on stdout, beside JSON on stderr."""
        if self.as_json:
            print("\n".join(line.plain for line in lines), file=sys.stderr, flush=True)
        else:
            self.lines(lines)

    def note(self, text: str, *, style: str = "dim") -> None:
        """About the tail itself: on stderr where JSON is asked for."""
        if self.as_json:
            print(text, file=sys.stderr, flush=True)
        else:
            self.lines([Text(text, style=style)])
