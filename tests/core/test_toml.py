"""A table becomes TOML that is read as the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from edgexfer.core.toml import read_toml, to_toml

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
VALUES = NUMBERS | TEXT | st.booleans()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), VALUES | st.lists(VALUES, max_size=3)))
def test_what_is_written_is_read_again(tmp_path: Path, table: dict[str, Any]) -> None:
    file = tmp_path / "table.toml"
    file.write_bytes(to_toml({**table, "nothing": None}).encode())
    assert read_toml(file) == {name: value for name, value in table.items() if name != "nothing"}
