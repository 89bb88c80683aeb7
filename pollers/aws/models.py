"""botocore's descriptions of services and endpoints, read in a third of the time.

Making the first client is mostly reading. botocore lists all of AWS's services to know that SQS is one, once for each kind of
file: 900 folders, 1,800 files. And it builds 1.3 MB of endpoints from JSON with Python's own parser, as OrderedDicts.
"""

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from aiobotocore.session import AioSession
from botocore.loaders import JSONFileLoader, Loader

_UNPACKED: Final[dict[str, Callable[[bytes], bytes]]] = {".json": bytes, ".json.gz": gzip.decompress}
"""What botocore looks for, in its order."""


class _Files(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    """Gives plain dicts, which have an order too. What cannot be read is botocore's to judge: it then raises its own error."""

    def load_file(self, file_path: str) -> Any:
        for ending, unpack in _UNPACKED.items():
            try:
                return msgspec.json.decode(unpack(Path(file_path + ending).read_bytes()))
            except (OSError, EOFError, zlib.error, msgspec.DecodeError):
                continue
        return super().load_file(file_path)


class _Everything:
    """Holds every name: a service that does not exist is noticed when its description is looked for (DataNotFoundError)."""

    def __contains__(self, name: object) -> bool:
        return True


class ModelLoader(Loader):  # type: ignore[misc]  # as above
    """botocore's loader, for sessions that know which services they want: it lists none."""

    FILE_LOADER_CLASS = _Files

    def list_available_services(self, type_name: str) -> _Everything:  # noqa: ARG002  # botocore's signature
        return _Everything()


def make_loader(session: AioSession) -> ModelLoader:
    """A loader that looks where the session's own would (AWS_DATA_PATH, or `data_path` of the profile)."""
    more = session.get_config_variable("data_path")
    folders = [] if more is None else more.split(os.pathsep)
    return ModelLoader(extra_search_paths=[_expanded(folder) for folder in folders])


def _expanded(folder: str) -> str:
    return os.path.expanduser(os.path.expandvars(folder))  # noqa: PTH111  # Path makes "." of ""
