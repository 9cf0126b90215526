"""Every test runs on one thread: two threads on a shared core wait for each other, and bits must not depend on them."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Written folders are thin; here and not in pyproject.toml, which would import fedkd before it can be checked."""
    config.addinivalue_line("filterwarnings", "ignore::fedkd.errors.Remark")
