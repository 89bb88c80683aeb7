import os

import pytest


@pytest.fixture(autouse=True)
def _no_account_but_the_made_up_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever AWS account a developer is logged in to, no test in here finds it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
