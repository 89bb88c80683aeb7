"""The aggregates of the Kinesis Producer Library (KPL): many user records in one record of the stream.

The format, with its schema: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md. An aggregate
begins with four bytes that no text begins with and ends with the MD5 of what is between, a protobuf message. What is not exactly
that is an ordinary record, and stays as it is.

Why not `aws_kinesis_agg`: its last release is of June 2022, it has no types, and importing it puts a folder of its own in front
of `sys.path`, where the user's code is looked for, and a module `config_pb2` beside that code.
"""

from collections.abc import Iterable
from hashlib import md5
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from msgspec import Struct

MAGIC: Final = bytes.fromhex("f3899ac2")
_DIGEST: Final = 16
_PACKAGE: Final = "aws.kinesis.protobuf"


class UserData(Struct, frozen=True, gc=False):
    """One user record of an aggregate."""

    key: str
    """Its own partition key."""
    hash_key: str | None
    """Its explicit hash key, if it was put with one."""
    data: bytes


def user_records(content: bytes) -> list[UserData] | None:
    """What an aggregate holds, in order and never nothing; None: it is none, or a broken one."""
    if not content.startswith(MAGIC) or len(content) <= len(MAGIC) + _DIGEST:
        return None
    body = content[len(MAGIC) : -_DIGEST]
    if md5(body, usedforsecurity=False).digest() != content[-_DIGEST:]:
        return None
    try:
        return _read(body) or None
    except (DecodeError, IndexError):
        return None


def _read(body: bytes) -> list[UserData]:
    """Raises DecodeError, IndexError."""
    message: Any = _AGGREGATE.FromString(body)  # its fields are made at run time, from the schema below
    if not message.IsInitialized():
        raise DecodeError("a required field is missing")
    keys, hash_keys = _texts(message.partition_key_table), _texts(message.explicit_hash_key_table)
    return [
        UserData(
            keys[record.partition_key_index],
            hash_keys[record.explicit_hash_key_index] if record.HasField("explicit_hash_key_index") else None,
            record.data,
        )
        for record in message.records
    ]


def _texts(table: Iterable[object]) -> list[str]:
    """Protobuf gives those that are not UTF-8 as bytes. Raises DecodeError."""
    found = [each for each in table if isinstance(each, str)]
    if len(found) != len(list(table)):
        raise DecodeError("a key is no text")
    return found


def _schema() -> FileDescriptorProto:
    """As much of the KPL's messages.proto as an aggregate is made of."""
    field = FieldDescriptorProto
    file = FileDescriptorProto(name="esm_runtime/kpl.proto", package=_PACKAGE, syntax="proto2")
    many, must, may = field.LABEL_REPEATED, field.LABEL_REQUIRED, field.LABEL_OPTIONAL
    tag, record, aggregate = (file.message_type.add(name=name) for name in ("Tag", "Record", "AggregatedRecord"))
    tag.field.add(name="key", number=1, type=field.TYPE_STRING, label=must)
    tag.field.add(name="value", number=2, type=field.TYPE_STRING, label=may)
    record.field.add(name="partition_key_index", number=1, type=field.TYPE_UINT64, label=must)
    record.field.add(name="explicit_hash_key_index", number=2, type=field.TYPE_UINT64, label=may)
    record.field.add(name="data", number=3, type=field.TYPE_BYTES, label=must)
    record.field.add(name="tags", number=4, type=field.TYPE_MESSAGE, label=many, type_name=f".{_PACKAGE}.Tag")
    aggregate.field.add(name="partition_key_table", number=1, type=field.TYPE_STRING, label=many)
    aggregate.field.add(name="explicit_hash_key_table", number=2, type=field.TYPE_STRING, label=many)
    aggregate.field.add(name="records", number=3, type=field.TYPE_MESSAGE, label=many, type_name=f".{_PACKAGE}.Record")
    return file


_POOL: Final = DescriptorPool()
"""One of our own: the user's code may have the KPL's messages in the common one."""
_POOL.Add(_schema())
_AGGREGATE: Final = GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.AggregatedRecord"))
