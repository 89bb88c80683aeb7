"""What is wrong with a pattern, and where in its text."""

from typing import Final

INVALID: Final = "Invalid filter pattern definition."
"""All that AWS says of a wrong pattern (FLT-04)."""


class FilterError(ValueError):
    """A pattern that AWS refuses, or that nothing here can match. The message begins with AWS's text."""

    def __init__(self, explanation: str, *, pattern: str, offset: int, path: str = "") -> None:
        """`offset`: characters into the text of the pattern. `path`: the field or list member there; empty for the whole."""
        self.explanation = explanation
        self.offset = offset
        self.path = path
        self.line = pattern.count("\n", 0, offset) + 1
        self.column = offset - (pattern.rfind("\n", 0, offset) + 1) + 1
        super().__init__(f"{INVALID} {self.located}")

    @property
    def place(self) -> str:
        """Where it is, in words."""
        where = f"line {self.line}, column {self.column} of the pattern"
        return f"{self.path} ({where})" if self.path else where

    @property
    def located(self) -> str:
        """Place and explanation, without AWS's text."""
        return f"{self.place}: {self.explanation}"
