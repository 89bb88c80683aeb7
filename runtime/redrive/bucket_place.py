"""Messages that are the objects of a bucket."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime.errors import UserError
from runtime.redrive.places import LARGEST, Message, Unreadable

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


class BucketPlace:
    """A `Place`: those whose keys begin with a prefix. Only keys are held in memory."""

    partial = ""

    def __init__(self, client: "S3Client", *, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._fetched = False

    async def fetch(self, limit: int) -> list[Message]:
        if self._fetched:
            return []
        self._fetched = True
        keys: list[str] = []
        more: dict[str, Any] = {}
        try:
            while len(keys) < limit:
                page = await self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, **more)
                keys += [each["Key"] for each in page.get("Contents", []) if not each["Key"].endswith("/")]
                if not page.get("IsTruncated"):
                    break
                more = {"ContinuationToken": page["NextContinuationToken"]}
        except Exception as error:
            raise UserError(f"s3://{self._bucket}/{self._prefix}: the objects cannot be listed: {error}") from error
        return [Message(name=f"s3://{self._bucket}/{key}") for key in keys[:limit]]

    async def read(self, message: Message) -> str:
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=self._key(message))
            size = answer["ContentLength"]
            async with answer["Body"] as stream:
                content: bytes = b"" if size > LARGEST else await stream.read()
        except Exception as error:  # one object; the others may be readable
            raise Unreadable(f"the object cannot be read: {error}") from error
        if size > LARGEST:
            raise Unreadable(f"the object has {size:,} bytes: on-failure objects are smaller")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise Unreadable("the object is not UTF-8 text") from None

    async def keep(self) -> None:
        """Objects stay where they are."""

    async def remove(self, messages: Sequence[Message]) -> list[str]:
        problems = []
        for message in messages:
            try:
                await self._client.delete_object(Bucket=self._bucket, Key=self._key(message))
            except Exception as error:  # noqa: BLE001  # as above
                problems.append(f"{message.name} succeeded but could not be deleted: {error}")
        return problems

    async def close(self) -> list[str]:
        return []

    def _key(self, message: Message) -> str:
        return message.name.removeprefix(f"s3://{self._bucket}/")
