"""What can go wrong at a source, in the two words the rest of the program needs: wait, or tell the user."""


class SourceError(Exception):
    """A source did not do what it was asked. `code` is the service's own error code, or a word of ours in lower case."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class SourceUnavailable(SourceError):
    """It may work the next time: throttling, a fault of the service, no connection. Back off and go on."""


class SourceRejected(SourceError):
    """It will not work until somebody changes something: no such queue, access denied, bad credentials. Show it, go on slowly."""


class PositionTrimmed(SourceError):
    """The records after a position have left the stream. What is still there begins at TRIM_HORIZON; the gap is to be told."""
