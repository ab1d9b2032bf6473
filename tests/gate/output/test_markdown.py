from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt
from markdown_it.token import Token

from edgexfer.gate.judge.verdict import Flip, GateResult
from edgexfer.gate.output.foreign import one_line
from edgexfer.gate.output.markdown import markdown_summary
from tests.gate.output.hostile import RESULTS
from tests.gate.output.results import STOP, fixed_result

_OURS = {"<code>", "</code>", "<br>"}


def parsed(result: GateResult) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(markdown_summary(result))


def inline(tokens: list[Token]) -> list[Token]:
    return [child for token in tokens if token.children for child in token.children]


def tables(tokens: list[Token]) -> list[list[list[str]]]:
    """Returns the text of every cell of every row of every table, heads included."""
    found: list[list[list[str]]] = []
    for place, token in enumerate(tokens):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type in ("td_open", "th_open"):
            children = tokens[place + 1].children or []
            found[-1][-1].append("".join(c.content for c in children if c.type in ("text", "text_special")))
    return found


def test_the_outcome_comes_first_and_what_failed_before_what_passed() -> None:
    lines = markdown_summary(fixed_result()).splitlines()
    assert lines[0] == "## ❌ signs for raspberry-pi-5: fail"
    assert lines[2] == "2 fail, 1 inconclusive, 3 pass; int8, ONNX Runtime 1.20.1."
    rows = tables(parsed(fixed_result()))[0]
    assert rows[0] == ["Verdict", "Metric", "Value", "Reference", "Change", "Limit", "Set by"]
    assert [row[0].split()[-1] for row in rows[1:]] == ["fail", "fail", "inconclusive", "pass", "pass", "pass"]
    assert rows[1][1:] == [
        "top1", "96.45 %", "99.35 %", "-2.9 points (-4.9 to -1.7)", "at most 1 point below the baseline", "standard",
    ]  # fmt: skip
    assert rows[2][1] == f"recall:{STOP}"


def test_reasons_warnings_and_the_machine_are_told() -> None:
    text = markdown_summary(fixed_result())
    assert "- **top1.max_drop** inconclusive: the bundle records no answers of the float network" in text
    assert "- Warning: the governor is powersave, 2 of 4 cores" in text
    assert "Machine: aarch64, Cortex-A76 x 4" in text
    assert "Compared with: baselines/signs.json, accepted 2025-11-21 by Ada Lovelace" in text
    assert "- **latency_p50_ms" not in text  # what passed needs no reason


def test_flipped_images_are_folded_away() -> None:
    flipped = tables(parsed(fixed_result()))[1]
    assert flipped[1] == ["lost", "stop/we|rd <img src=x>.jpg", STOP, STOP, "go"]
    assert "<summary>3 images are answered differently: 1 lost, 1 changed, 1 won</summary>" in markdown_summary(
        fixed_result()
    )
    assert "<details>" not in markdown_summary(replace(fixed_result(), flips=()))
    many = tuple(Flip(f"go/{number}.jpg", "", "go", "go", "left") for number in range(130))
    text = markdown_summary(replace(fixed_result(), flips=many))
    assert "130 images are answered differently: 130 lost" in text
    assert "\nand 30 more\n" in text
    assert len(tables(parsed(replace(fixed_result(), flips=many)))[1]) == 101


def test_nothing_judged_is_inconclusive() -> None:
    text = markdown_summary(replace(fixed_result(), verdicts=()))
    assert text.startswith("## ⚠️ signs for raspberry-pi-5: inconclusive\n\nNo limit was judged")


@settings(max_examples=100, deadline=None)
@given(RESULTS)
def test_whatever_somebody_called_a_class_there_is_a_row_for_each_verdict(result: GateResult) -> None:
    tokens = parsed(result)
    found = tables(tokens)
    assert len(found) == bool(result.verdicts) + bool(result.flips)
    if result.verdicts:
        assert len(found[0]) == 1 + len(result.verdicts)
        assert {len(row) for row in found[0]} == {7}
        told = sorted(row[1] for row in found[0][1:])
        assert told == sorted(" ".join(one_line(v.limit.subject).strip(" ").split(" ")) for v in result.verdicts)
    if result.flips:
        assert [row[1].strip() for row in found[-1][1:]] == [one_line(flip.path).strip() for flip in result.flips]
    # No text of others becomes structure: no link, image, code, emphasis, HTML or heading but ours.
    kinds = {token.type for token in inline(tokens)}
    assert kinds <= {"text", "text_special", "html_inline", "strong_open", "strong_close", "softbreak"}
    assert {token.content for token in inline(tokens) if token.type == "html_inline"} <= _OURS
    blocks = [token for token in tokens if token.type == "html_block"]
    assert len(blocks) == 2 * bool(result.flips)
    assert sum(token.type == "heading_open" for token in tokens) == 1
    assert not {token.type for token in tokens} & {"fence", "code_block", "blockquote_open", "ordered_list_open", "hr"}


@pytest.mark.parametrize("text", ["@somebody", "#777", "https://a.b", "$x$", "__init__", "a_b"])
def test_dialects_find_nothing_either(text: str) -> None:
    result = fixed_result()
    shown = markdown_summary(replace(result, warnings=(text,)))
    assert (text in shown) == (text == "a_b")
