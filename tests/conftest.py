"""What all tests share: none depends on the speed of the machine; the longest files go first."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "spire", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("spire")

# Each process is handed whole files, in order: what takes minutes must not come last.
LONGEST = (
    "recipes/test_mini_smoke.py",
    "csrc/test_cuda_kernels.py",
    "spire_training/cpt/test_runs.py",
    "spire_evaluation/test_run.py",
    "faults/test_kill.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        ends = (item.path.as_posix().endswith(f"tests/{name}") for name in LONGEST)
        return next((number for number, is_it in enumerate(ends) if is_it), len(LONGEST))

    items.sort(key=place)
