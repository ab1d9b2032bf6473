"""`edgexfer evaluate` on a CSV with slices: a table a slice, the gap in words, and the same in the record."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.terminal import Terminal
from tests.gate.images import COLOURS, write_image


def test_evaluate_tells_each_slice_and_the_worst_gap(edgexfer: Terminal, bundle_folder: Path, tmp_path: Path) -> None:
    lines = ["path,label,slice_light,slice,machine"]
    for index, label in enumerate(COLOURS):
        for number in range(24):
            dark = number % 2
            shown = "a" if dark and number < 12 else label  # half of what was taken at night looks red
            write_image(tmp_path / f"{label}{number}.png", COLOURS[shown], seed=100 * index + number)
            value = "few" if number == 0 else ""
            lines.append(f"{label}{number}.png,{label},{'[b]night' if dark else 'day'},{value},m{number}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    said = edgexfer("evaluate", bundle_folder, tmp_path / "list.csv", "--json", tmp_path / "out.json")
    assert (said.code, said.err) == (0, "")
    rows = [line.split() for line in said.out.splitlines()]
    assert ["[b]night", "36", "66.7", "%"] in [row[:4] for row in rows]
    assert ["day", "36", "100.0", "%", "90.4", "to", "100.0", "100.0", "%", "–"] in rows
    assert "worst gap: 33.3 points of top-1 between day and [b]night; chance makes one as large in 0.1 %" in said.out
    assert ["few", "3", "100.0", "%"] in [row[:4] for row in rows]
    assert "too small to tell" in said.out
    assert "69 images without a value of it" in said.out
    assert "worst gap: cannot be told; it takes two values of 30 images or more" in said.out
    light, other = json.loads((tmp_path / "out.json").read_text())["summary"]["slices"]
    assert (light["name"], light["gap"]["worst"], light["gap"]["significant"]) == ("light", "[b]night", True)
    assert light["figures"][1]["macro_f1_interval"] == [None, None]
    assert (other["name"], other["gap"], other["without"]) == ("slice", None, 69)
