"""An environment in which nothing of this machine's AWS settings counts."""

import os
from pathlib import Path

import pytest


def without_aws(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Made-up keys; configuration and credentials would be read from files in `folder` that are not there yet."""
    for name in os.environ:
        if name.startswith("AWS_") or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
