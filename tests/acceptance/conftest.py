"""What the acceptance tests have in common; the rest is in `worker_process.py` and `local_aws.py`."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than 20 seconds, because what it looks at does")
