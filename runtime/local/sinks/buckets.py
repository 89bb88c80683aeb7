"""S3 buckets that keep the objects put into them. Pure. A bucket must be created; its name is one for all accounts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

from runtime.local.errors import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """`at` is in seconds since the epoch."""

    key: str
    body: bytes
    at: float
    content_type: str = "binary/octet-stream"
    metadata: dict[str, str] = field(default_factory=dict)
    """The `x-amz-meta-` headers."""
    checksums: dict[str, str] = field(default_factory=dict)
    """The `x-amz-checksum-` headers."""

    @property
    def etag(self) -> str:
        return f'"{md5(self.body, usedforsecurity=False).hexdigest()}"'

    def as_json(self) -> dict[str, Any]:
        """The body as text, where it is UTF-8."""
        body = self.body.decode(errors="replace")
        return {"key": self.key, "at": self.at, "contentType": self.content_type, "metadata": self.metadata, "body": body}


class Buckets:
    """`clock` gives seconds since the epoch."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._owners: dict[str, str] = {}
        self._objects: dict[str, dict[str, StoredObject]] = {}

    def reset(self) -> None:
        self._owners.clear()
        self._objects.clear()

    def buckets(self) -> list[str]:
        return sorted(self._objects)

    def create(self, bucket: str, *, account: str) -> None:
        """Raises Refused."""
        owner = self._owners.setdefault(bucket, account)
        if owner != account:
            raise Refused("BucketAlreadyExists", "The requested bucket name is not available.", status=409)
        if bucket in self._objects:
            message = "Your previous request to create the named bucket succeeded and you already own it."
            raise Refused("BucketAlreadyOwnedByYou", message, status=409)
        self._objects[bucket] = {}

    def objects(self, bucket: str) -> list[StoredObject]:
        """By key. Raises Refused."""
        found = self._bucket(bucket)
        return [found[key] for key in sorted(found, key=str.encode)]

    def put(
        self, bucket: str, key: str, body: bytes, *, content_type: str | None, metadata: dict[str, str], checksums: dict[str, str]
    ) -> StoredObject:
        """Raises Refused."""
        stored = StoredObject(
            key=key,
            body=body,
            at=self._clock(),
            content_type=content_type or "binary/octet-stream",
            metadata=metadata,
            checksums=checksums,
        )
        self._bucket(bucket)[key] = stored
        return stored

    def get(self, bucket: str, key: str) -> StoredObject:
        """Raises Refused."""
        found = self._bucket(bucket).get(key)
        if found is None:
            raise Refused("NoSuchKey", "The specified key does not exist.", status=404, more={"Key": key})
        return found

    def delete(self, bucket: str, key: str) -> None:
        """Nothing happens where there is none (S3's way). Raises Refused if there is no such bucket."""
        self._bucket(bucket).pop(key, None)

    def exists(self, bucket: str, key: str) -> bool:
        """Raises Refused if there is no such bucket."""
        return key in self._bucket(bucket)

    def check_owner(self, bucket: str, expected: str | None) -> None:
        """Raises Refused if the bucket is another account's than the one that the caller expects."""
        self._bucket(bucket)
        if expected is not None and self._owners[bucket] != expected:
            raise Refused("AccessDenied", "Access Denied", status=403)

    def _bucket(self, bucket: str) -> dict[str, StoredObject]:
        found = self._objects.get(bucket)
        if found is None:
            raise Refused("NoSuchBucket", "The specified bucket does not exist", status=404, more={"BucketName": bucket})
        return found
