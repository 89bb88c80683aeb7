"""Where the code of a function lies, as `CodeUri` says it."""

import os
from dataclasses import dataclass

from runtime.importing.values import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Paths of a template are relative to its folder, those of `esm.yaml` to the folder that it will lie in."""

    template: str
    esm: str
    """Both absolute."""

    def moved(self, path: str) -> str:
        """A path of the template as one of `esm.yaml`."""
        if os.path.isabs(path):  # noqa: PTH117  # texts of a file, not yet paths
            return path
        relative = os.path.relpath(os.path.join(self.template, path), self.esm)  # noqa: PTH118  # as above
        return relative if relative.startswith("..") or relative == "." else f"./{relative}"


def code_of(resource: Block, folders: Folders) -> tuple[str | None, str]:
    """`CodeUri`, or None and why there is none. Of CDK, its metadata say where the asset lies."""
    properties = resource.block("Properties")
    asset = resource.block("Metadata").get("aws:asset:path")
    if isinstance(asset, str) and asset:
        return folders.moved(asset), ""
    if "InlineCode" in properties or "ZipFile" in properties.block("Code"):
        return None, "its code stands in the template: put it into a file beside this one"
    code = properties.get("CodeUri", properties.get("Code"))
    if isinstance(code, str) and not code.startswith(("s3://", "https://", "http://")):
        return folders.moved(code), ""
    if code is None:
        return None, "the template does not say where its code lies: name that folder in CodeUri"
    return None, "its code lies in S3: unpack it into a folder, and name that in CodeUri"
