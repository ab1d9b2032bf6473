"""Results with whatever text somebody may have put into labels, paths and names."""

from __future__ import annotations

from hypothesis import strategies as st

from edgexfer.gate.judge.limits import KINDS, Limit
from edgexfer.gate.judge.verdict import EXIT_CODES, Flip, GateResult, Verdict
from edgexfer.gate.measure.record import Subject
from edgexfer.gate.metrics import METRICS

_NASTY = st.sampled_from(
    [
        "a|b", "\n| x | y |", "</details>", "<script>alert(1)</script>", "::error::x", "%0A::error::", "]]>", "<!--",
        "`code`", "**bold**", "_it_", "[a](b)", "![i](u)", "https://a.b", "&amp;", "&#10;", "\r\n\r\n# head",
        "\u2028", "\x85", "\udcff", "\ufffe", "\u202etxt", "a,b:c=d", "\\", "~~~", "$x$", "- item", "1. item",
        "  \n    pre", "\x00\x1b[31m",
        "]]", "[[ATTACHMENT|/etc/passwd]]", "=====", "\x0b\x0c\x1c", "`", "<", "&",
    ]
)  # fmt: skip
TEXTS = st.one_of(_NASTY, st.text(max_size=20), st.lists(_NASTY, max_size=3).map("".join))
_NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6))


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    """Any limit, of any class."""
    name = draw(st.sampled_from(sorted(METRICS)))
    label = draw(st.one_of(st.none(), TEXTS)) if METRICS[name].of == "classes" else None
    value = draw(st.floats(0, 1e6))
    return Limit(name, draw(st.sampled_from(KINDS)), value, draw(st.booleans()), label, draw(TEXTS))


VERDICTS = st.builds(
    Verdict, limits(), st.sampled_from(sorted(EXIT_CODES)), TEXTS, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS, _NUMBERS,
    st.dictionaries(TEXTS, st.one_of(TEXTS, _NUMBERS, st.integers()), max_size=3),
)  # fmt: skip

RESULTS = st.builds(
    GateResult,
    st.builds(Subject, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, st.booleans()),
    st.lists(VERDICTS, max_size=6).map(tuple),
    TEXTS,
    TEXTS,
    TEXTS,
    st.lists(st.builds(Flip, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), max_size=4).map(tuple),
    st.lists(TEXTS, max_size=3).map(tuple),
    TEXTS,
    st.floats(0, 1e5),
)
