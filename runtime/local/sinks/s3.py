"""S3 as a service of the server: by path (`/bucket/key`) or by host (`bucket.localhost`), XML out.

Known are CreateBucket, HeadBucket, PutObject, GetObject, HeadObject, DeleteObject and ListObjectsV2; of their parameters those
that are read here. A request with any other parameter in its query is refused.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Final
from urllib.parse import quote, unquote

from aiohttp import web

from runtime.local.errors import Refused
from runtime.local.faults import Kind
from runtime.local.service import Answer, Asked, ByScope, Service, answer_with
from runtime.local.sinks.buckets import Buckets, StoredObject
from runtime.local.sinks.chunked import read_body
from runtime.local.sinks.xml import to_xml
from runtime.local.state import Caller

_XML: Final = "application/xml"
_NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
_META: Final = "x-amz-meta-"
_MOST_KEYS: Final = 1000
_LISTING: Final = frozenset(
    {"list-type", "prefix", "max-keys", "continuation-token", "start-after", "encoding-type", "fetch-owner"}
)
_FAULTS: Final[dict[Kind, Refused]] = {
    Kind.THROTTLE: Refused("SlowDown", "Please reduce your request rate.", status=503),
    Kind.ERROR500: Refused("InternalError", "We encountered an internal error. Please try again.", status=500),
    Kind.ERROR503: Refused("ServiceUnavailable", "Reduce your request rate.", status=503),
    Kind.ACCESS_DENIED: Refused("AccessDenied", "Access Denied", status=403),
    Kind.EXPIRED_TOKEN: Refused("ExpiredToken", "The provided token has expired.", status=400),
}


def s3_service(buckets: Buckets) -> Service:
    async def act(asked: Asked) -> web.Response:
        operation = _OPERATIONS.get(asked.operation)
        if operation is None or asked.request.query.keys() - _known_parameters(asked.operation):
            message = f"This endpoint does not support {asked.request.method} {asked.request.path_qs}."
            raise Refused("NotImplemented", message, status=501)
        if asked.operation != "CreateBucket":
            buckets.check_owner(asked.about["bucket"], asked.request.headers.get("x-amz-expected-bucket-owner"))
        return operation(buckets, asked)

    return Service(
        name="s3",
        route=ByScope(signed_for="s3"),
        content=_XML,
        operations=frozenset(_OPERATIONS),
        read=_read,
        act=act,
        refuse=_refuse,
        fault=lambda kind, _asked: _FAULTS.get(kind),
        reset=buckets.reset,
        inspect=lambda: {"buckets": [{"name": name, "objects": len(buckets.objects(name))} for name in buckets.buckets()]},
        controls={"received": lambda _given: {"received": _received(buckets)}},
    )


def _received(buckets: Buckets) -> list[Answer]:
    return [{"bucket": name, **stored.as_json()} for name in buckets.buckets() for stored in buckets.objects(name)]


def _read(request: web.Request, raw: bytes, caller: Caller, request_id: str) -> Asked:
    bucket, key = _place(request)
    operation = _BY_METHOD.get((request.method, bool(key)), f"{request.method} {request.path}") if bucket else "ListBuckets"
    return Asked(
        operation=operation,
        about={"bucket": bucket} if bucket else {},
        caller=caller,
        request=request,
        request_id=request_id,
        raw=raw,
        body={"key": key},
    )


def _place(request: web.Request) -> tuple[str, str]:
    """Bucket and key, "" where there is none."""
    path = request.rel_url.raw_path.removeprefix("/")
    host = request.host.partition(":")[0]
    if host.endswith(".localhost"):
        return host.removesuffix(".localhost"), unquote(path)
    bucket, _slash, key = path.partition("/")
    return unquote(bucket), unquote(key)


def _known_parameters(operation: str) -> frozenset[str]:
    return (_LISTING if operation == "ListObjectsV2" else frozenset()) | {"x-id"}


def _create_bucket(buckets: Buckets, asked: Asked) -> web.Response:
    buckets.create(asked.about["bucket"], account=asked.caller.account)
    response = _answer(b"", asked)
    response.headers["Location"] = f"/{asked.about['bucket']}"
    return response


def _head_bucket(_buckets: Buckets, asked: Asked) -> web.Response:
    response = _answer(b"", asked)
    response.headers["x-amz-bucket-region"] = asked.caller.region
    return response


def _put_object(buckets: Buckets, asked: Asked) -> web.Response:
    bucket, key, headers = asked.about["bucket"], asked.body["key"], asked.request.headers
    if "x-amz-copy-source" in headers:
        raise Refused("NotImplemented", "This endpoint does not copy objects.", status=501)
    body, checksums = read_body(headers, asked.raw)
    if headers.get("If-None-Match") == "*" and buckets.exists(bucket, key):
        raise Refused("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", status=412)
    metadata = {name.lower().removeprefix(_META): value for name, value in headers.items() if name.lower().startswith(_META)}
    content_type = headers.get("Content-Type")
    stored = buckets.put(bucket, key, body, content_type=content_type, metadata=metadata, checksums=checksums)
    response = _answer(b"", asked)
    response.headers.update({"ETag": stored.etag, **stored.checksums})
    return response


def _delete_object(buckets: Buckets, asked: Asked) -> web.Response:
    buckets.delete(asked.about["bucket"], asked.body["key"])
    return web.Response(status=204, headers={"x-amzn-RequestId": asked.request_id})


def _get_object(buckets: Buckets, asked: Asked) -> web.Response:
    if "Range" in asked.request.headers:
        raise Refused("NotImplemented", "This endpoint does not give parts of objects.", status=501)
    stored = buckets.get(asked.about["bucket"], asked.body["key"])
    response = web.Response(body=stored.body, headers={"x-amzn-RequestId": asked.request_id, "Content-Type": stored.content_type})
    response.headers.update({"ETag": stored.etag, "Last-Modified": formatdate(stored.at, usegmt=True)})
    response.headers.update({_META + name: value for name, value in stored.metadata.items()})
    if asked.request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        response.headers.update(stored.checksums)
    return response


def _list_objects(buckets: Buckets, asked: Asked) -> web.Response:
    query, bucket = asked.request.query, asked.about["bucket"]
    if query.get("list-type") != "2":
        raise Refused("NotImplemented", "This endpoint lists objects with list-type=2 only.", status=501)
    most = query.get("max-keys", str(_MOST_KEYS))
    if not most.isascii() or not most.isdigit():
        raise Refused("InvalidArgument", "Provided max-keys not an integer or within integer range", status=400)
    prefix = query.get("prefix", "")
    after = (query.get("continuation-token") or query.get("start-after") or "").encode()
    found = [it for it in buckets.objects(bucket) if it.key.startswith(prefix) and it.key.encode() > after]
    page = found[: min(int(most), _MOST_KEYS)]
    written: Callable[[str], str] = quote if query.get("encoding-type") == "url" else str
    content: Answer = {
        "Name": bucket,
        "Prefix": written(prefix),
        "KeyCount": len(page),
        "MaxKeys": int(most),
        "IsTruncated": len(found) > len(page),
        "Contents": [_listed(stored, written(stored.key)) for stored in page],
    }
    if "encoding-type" in query:
        content["EncodingType"] = "url"
    if page and len(found) > len(page):
        content["NextContinuationToken"] = page[-1].key
    return _answer(to_xml("ListBucketResult", content, _NAMESPACE).encode(), asked)


def _listed(stored: StoredObject, key: str) -> Answer:
    modified = datetime.fromtimestamp(stored.at, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"Key": key, "LastModified": modified, "ETag": stored.etag, "Size": len(stored.body), "StorageClass": "STANDARD"}


def _answer(body: bytes, asked: Asked) -> web.Response:
    return answer_with(200, body, _XML, asked.request_id)


def _refuse(refused: Refused, request_id: str) -> web.Response:
    """The answer to a HEAD has no body: there a client sees the status alone, as with AWS."""
    content = {"Code": refused.code, "Message": refused.message, **refused.more, "RequestId": request_id}
    return answer_with(refused.status, to_xml("Error", content).encode(), _XML, request_id)


_BY_METHOD: Final = {
    ("PUT", False): "CreateBucket",
    ("HEAD", False): "HeadBucket",
    ("GET", False): "ListObjectsV2",
    ("PUT", True): "PutObject",
    ("GET", True): "GetObject",
    ("HEAD", True): "HeadObject",
    ("DELETE", True): "DeleteObject",
}
"""Method, and whether there is a key -> the operation."""
_OPERATIONS: Final[dict[str, Callable[[Buckets, Asked], web.Response]]] = {
    "CreateBucket": _create_bucket,
    "HeadBucket": _head_bucket,
    "ListObjectsV2": _list_objects,
    "PutObject": _put_object,
    "GetObject": _get_object,
    "HeadObject": _get_object,
    "DeleteObject": _delete_object,
}
