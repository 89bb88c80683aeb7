"""What a request looks like and where it goes, as the SDK's own client decides it.

The client makes one request of the kind, which is held back in the moment before it would be sent. So endpoint rules, overrides,
FIPS and dual-stack endpoints, custom headers and signing versions are the SDK's. Whether we can make the same request is found
out by making it: if our signature of it is not the SDK's to the byte, or the connection would need what we do not have, it says
why.
"""

import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import normalize_url_path

from pollers.aws.lean.pool import Endpoint
from pollers.aws.lean.signing import Credentials, Signer

_PORTS: Final = {"http": 80, "https": 443}
_OF_ONE_REQUEST: Final = frozenset({
    "x-amz-date", "x-amz-security-token", "authorization", "content-length", "amz-sdk-invocation-id", "amz-sdk-request", "host",
})  # fmt: skip
"""Headers that differ from request to request, or that the SDK counts its tries in."""
_SIGNED_NAMES: Final = "SignedHeaders="
_SCOPE_PARTS: Final = 5
"""Access key, day, region, service, and a word that never changes."""
_UNKNOWN_SIGNATURE: Final = "requests that are signed in a way that we do not know"


class NotCovered(Exception):
    """The lean client cannot make this request; the message says what it would need."""


class _HeldBack(Exception):  # not an error
    """Carries a request out of the SDK's client instead of over the network."""

    def __init__(self, request: Any) -> None:
        super().__init__("held back")
        self.request = request


_HOLDING_BACK: Final[ContextVar[bool]] = ContextVar("holding_back", default=False)


def hold_back_when_asked(client: Any) -> None:
    """Once for every client from which templates are taken."""
    client.meta.events.register("before-send", _hold_back)


def _hold_back(request: Any, **_: Any) -> None:
    if _HOLDING_BACK.get():
        raise _HeldBack(request)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One kind of request."""

    signer: Signer
    url: str
    host: str
    port: int
    tls: bool


async def take_template(client: Any, operation: str, parameters: Mapping[str, Any], credentials: Credentials) -> Template:
    """`operation`: as a method of the client. Raises NotCovered, and whatever the client raises that makes no request."""
    request = await _request_of(client, operation, parameters)
    parts = urlsplit(request.url)
    if request.method != "POST" or parts.scheme not in _PORTS or not parts.hostname or parts.query:
        raise NotCovered(f"requests like {request.method} {parts.scheme}://{parts.netloc}{parts.path}")
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    signed = _signed_names(headers.get("authorization", ""))
    fixed = {name: value for name, value in headers.items() if name not in _OF_ONE_REQUEST}
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or _PORTS[parts.scheme]
    path = quote(normalize_url_path(parts.path), safe="/~")
    if path != (parts.path or "/"):
        raise NotCovered(f"an endpoint with the path {parts.path}")
    scope = headers["authorization"].partition("Credential=")[2].partition(",")[0].split("/")
    if len(scope) < _SCOPE_PARTS or "x-amz-date" not in headers:
        raise NotCovered(_UNKNOWN_SIGNATURE)
    signer = Signer(
        method="POST",
        path=path,
        host=host if port == _PORTS[parts.scheme] else f"{host}:{port}",
        signed={name: value for name, value in fixed.items() if name in signed},
        unsigned={"accept-encoding": "identity", **{name: value for name, value in fixed.items() if name not in signed}},
        region=scope[-3],
        service=scope[-2],
    )
    _check_signature(signer, headers, request.body, credentials)
    return Template(signer=signer, url=request.url, host=parts.hostname, port=port, tls=parts.scheme == "https")


async def _request_of(client: Any, operation: str, parameters: Mapping[str, Any]) -> Any:
    token = _HOLDING_BACK.set(True)
    try:
        await getattr(client, operation)(**parameters)
    except _HeldBack as held:
        return held.request
    finally:
        _HOLDING_BACK.reset(token)
    raise NotCovered("a client that sends no requests")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _signed_names(authorization: str) -> frozenset[str]:
    if not authorization.startswith("AWS4-HMAC-SHA256 "):
        how = authorization.partition(" ")[0] or "none"
        raise NotCovered(f"requests that are signed otherwise ({how})")
    return frozenset(authorization.partition(_SIGNED_NAMES)[2].partition(",")[0].split(";"))


def _check_signature(signer: Signer, headers: Mapping[str, str], body: bytes, credentials: Credentials) -> None:
    moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    if signer.authorization(body, credentials, moment.timestamp()) != headers["authorization"]:
        raise NotCovered(_UNKNOWN_SIGNATURE)


def endpoint_of(client: Any, template: Template, context: Callable[[str | None, bool], ssl.SSLContext]) -> Endpoint:
    """Where the SDK would connect to, and how. Raises NotCovered; `context` makes one of a file of authorities, or of none.

    The SDK has no public word for these settings once a client is made, so one that does not show them is not covered.
    """
    try:
        session, config = client._endpoint.http_session, client.meta.config  # noqa: SLF001
        proxy, certificate = session._proxy_config.proxy_url_for(template.url), session._cert_file  # noqa: SLF001
        verify, arguments = session._verify, session._connector_args  # noqa: SLF001
        most, connect, read = config.max_pool_connections, config.connect_timeout, config.read_timeout
    except AttributeError as error:
        raise NotCovered(f"a client that does not show its settings ({error})") from error
    if proxy:
        raise NotCovered("a proxy")
    if certificate:
        raise NotCovered("a client certificate")
    if set(arguments) - {"keepalive_timeout"}:
        raise NotCovered("a connector of one's own")
    return Endpoint(
        url=template.url,
        host=template.host,
        port=template.port,
        tls=context(get_cert_path(verify) if verify else None, bool(verify)) if template.tls else None,
        connect_timeout=float(connect),
        read_timeout=float(read),
        most=most,
    )
