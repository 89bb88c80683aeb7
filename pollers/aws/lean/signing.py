"""Signature Version 4 (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), for requests
that differ from one another only in their body, their date and their credentials.

The law: the bytes are those that botocore's `SigV4Auth` would make (`tests/unit/test_lean_signing.py`).
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_BLOCK: Final = 64
"""Bytes of a block of SHA-256 (RFC 2104)."""
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_DATE: Final = "x-amz-date"
_TOKEN: Final = "x-amz-security-token"  # noqa: S105  # the name of a header
_HOST: Final = "host"


class Credentials(NamedTuple):
    """As botocore's `ReadOnlyCredentials` has them."""

    access_key: str
    secret_key: str
    token: str | None


class Signer:
    """Makes the bytes of one kind of request."""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        host: str,
        signed: Mapping[str, str],
        unsigned: Mapping[str, str],
        region: str,
        service: str,
    ) -> None:
        """`signed` and `unsigned`: the headers that do not change, names in lower case, values as they are sent.

        `path`: as in the URL, without a query. `region`, `service`: of the credential scope.
        """
        self._method = method
        self._path = path
        self._signed = {**signed, _HOST: host}
        self._scope = f"{region}/{service}/aws4_request"
        self._region = region
        self._service = service
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**self._signed, **unsigned}.items())
        self._head = f"{method} {path} HTTP/1.1\r\n{lines}"
        self._credentials: Credentials | None = None
        self._day = ""
        self._second = -1
        self._inner = self._outer = sha256()
        """The two halves of an HMAC with the key of the day, which most of one is spent on."""
        self._before = self._after = self._after_date = ""
        self._canonical = self._to_sign = sha256()
        """As far as they are the same for a second: of a canonical request all but the digest of its body, and of the string to
        sign all but the digest of that, with the key."""
        self._before_signature = b""
        self._last: tuple[bytes, bytes] = (b"", b"")

    def request(self, body: bytes, credentials: Credentials, now: float) -> bytes:
        """The whole request. `now`: seconds since the epoch, by the clock of the service.

        One that is asked for again within the same second is the same, to the byte.
        """
        second = int(now)
        if second != self._second or credentials is not self._credentials:
            self._turn(second, credentials)
        elif body is self._last[0]:
            return self._last[1]
        canonical, to_sign, signature = self._canonical.copy(), self._to_sign.copy(), self._outer.copy()
        canonical.update(sha256(body).hexdigest().encode())
        to_sign.update(canonical.hexdigest().encode())
        signature.update(to_sign.digest())
        told = signature.hexdigest().encode()
        request = b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (self._before_signature, told, len(body), body)
        self._last = (body, request)
        return request

    def authorization(self, body: bytes, credentials: Credentials, now: float) -> str:
        """The value of the Authorization header alone."""
        head = self.request(body, credentials, now).partition(b"\r\n\r\n")[0].decode()
        return head.partition("\r\nAuthorization: ")[2].partition("\r\n")[0]

    def _turn(self, second: int, credentials: Credentials) -> None:
        """What changes once a second."""
        amz_date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        if amz_date[:8] != self._day or credentials != self._credentials:
            self._derive(amz_date[:8], credentials)
        self._second, self._credentials, self._last = second, credentials, (b"", b"")
        self._canonical = sha256(f"{self._before}{amz_date}{self._after}".encode())
        self._to_sign = self._inner.copy()
        self._to_sign.update(f"{_ALGORITHM}\n{amz_date}\n{self._day}/{self._scope}\n".encode())
        self._before_signature = f"{self._head}X-Amz-Date: {amz_date}\r\n{self._after_date}".encode()

    def _derive(self, day: str, credentials: Credentials) -> None:
        """What changes once a day, or with the credentials."""
        key = f"AWS4{credentials.secret_key}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._day = day
        padded = key.ljust(_BLOCK, b"\0")
        self._inner, self._outer = sha256(padded.translate(_INNER_PAD)), sha256(padded.translate(_OUTER_PAD))
        headers = {**self._signed, _DATE: "\0"}
        if credentials.token:
            headers[_TOKEN] = credentials.token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
        before, _, after = lines.partition("\0")
        self._before = f"{self._method}\n{self._path}\n\n{before}"
        self._after = f"{after}\n{names}\n"
        token = f"X-Amz-Security-Token: {credentials.token}\r\n" if credentials.token else ""
        scope = f"{credentials.access_key}/{day}/{self._scope}"
        self._after_date = f"{token}Authorization: {_ALGORITHM} Credential={scope}, SignedHeaders={names}, Signature="
