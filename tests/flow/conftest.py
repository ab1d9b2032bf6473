from __future__ import annotations

# The flows need what training needs, and are skipped for the same reason.
from tests.train.conftest import _one_thread, pytest_pycollect_makemodule

__all__ = ["_one_thread", "pytest_pycollect_makemodule"]
