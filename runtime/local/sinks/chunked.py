"""Bodies as S3 clients send them: `aws-chunked` framing taken off, checksums checked. Signatures of chunks are not."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import md5, sha1, sha256
from typing import Final
from zlib import crc32

from runtime.local.errors import Refused

_PREFIX: Final = "x-amz-checksum-"
_DIGESTS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "crc32": lambda body: crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: sha1(body, usedforsecurity=False).digest(),
    "sha256": lambda body: sha256(body).digest(),
}
"""Those that can be checked; others (crc32c, crc64nvme) are kept as they were sent."""


def read_body(headers: Mapping[str, str], raw: bytes) -> tuple[bytes, dict[str, str]]:
    """The object's bytes and its checksums, by header name in lower case. Raises Refused."""
    given = {name.lower(): value for name, value in headers.items()}
    body = raw
    if given.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        body, trailers = _unframed(raw)
        given |= trailers
        length = given.get("x-amz-decoded-content-length")
        if length is not None and length != str(len(body)):
            raise Refused(
                "IncompleteBody", f"The request body has {len(body)} bytes, not the {length} that were announced", status=400
            )
    checksums = {name: value for name, value in given.items() if name.startswith(_PREFIX)}
    for name, value in checksums.items():
        digest = _DIGESTS.get(name.removeprefix(_PREFIX))
        if digest is not None and b64encode(digest(body)).decode() != value:
            raise Refused(
                "BadDigest", f"The {name.removeprefix(_PREFIX)} you specified did not match the calculated checksum.", status=400
            )
    expected = given.get("content-md5")
    if expected is not None and b64encode(md5(body, usedforsecurity=False).digest()).decode() != expected:
        raise Refused("BadDigest", "The Content-MD5 you specified did not match what we received.", status=400)
    return body, checksums


def _unframed(raw: bytes) -> tuple[bytes, dict[str, str]]:
    """`<hex size>[;extension]CRLF <bytes> CRLF` until a size of 0, then trailers `name:value CRLF`."""
    malformed = Refused("InvalidRequest", "The body is not well-formed aws-chunked.", status=400)
    parts, at = [], 0
    while True:
        end = raw.find(b"\r\n", at)
        try:
            size = int(raw[at:end].partition(b";")[0], 16) if end >= 0 else -1
        except ValueError:
            raise malformed from None
        if size < 0:
            raise malformed
        at = end + 2
        if size == 0:
            break
        if raw[at + size : at + size + 2] != b"\r\n":
            raise malformed
        parts.append(raw[at : at + size])
        at += size + 2
    lines = (line.partition(b":") for line in raw[at:].split(b"\r\n") if line)
    return b"".join(parts), {name.strip().lower().decode(): value.strip().decode() for name, _colon, value in lines}
