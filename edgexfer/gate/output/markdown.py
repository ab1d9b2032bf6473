"""Markdown: a GateResult as a job summary (GITHUB_STEP_SUMMARY) or a comment on a merge request.

What others chose, such as labels and paths, is written in character references: CommonMark (section 2.5) takes none of
them for structure, so no label can end a table row, open a link or smuggle in HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgexfer.gate.judge.verdict import Flip, GateResult, Outcome, Verdict
from edgexfer.gate.output.foreign import one_line
from edgexfer.gate.words import change_in_words, limit_in_words, told, value_in_words

_SIGNS: dict[Outcome, str] = {"pass": "✅", "fail": "❌", "inconclusive": "⚠️"}
_ORDER: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
_FLIPS = 100  # a summary may have 1 MiB, and nobody reads more
# What has a meaning inside a line, in CommonMark or in GitHub's and GitLab's dialects; a dash or a number has one only
# where a line begins, and an underscore none within a word. `:/` would make a link of an address.
_MARKUP = re.compile(r"[!#$&*<>@\[\\\]^`{|}~]|:(?=/)|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")


def markdown_summary(result: GateResult) -> str:
    """Returns the summary: outcome, table of the verdicts, reasons, warnings, flipped images. It ends in an empty line.

    The table has one row for each verdict, what failed first.
    """
    subject = result.subject
    counts = ", ".join(f"{count} {outcome}" for outcome in _ORDER if (count := result.counted()[outcome]))
    ordered = sorted(result.verdicts, key=lambda verdict: _ORDER.index(verdict.outcome))
    heads = ("Verdict", "Metric", "Value", "Reference", "Change", "Limit", "Set by")
    ran = [_plain(subject.precision), _plain(subject.engine), *(["simulated"] if subject.simulated else [])]
    blocks = [
        f"## {_SIGNS[result.outcome]} {_plain(subject.bundle)} for {_plain(subject.target)}: {result.outcome}",
        f"{counts or 'No limit was judged'}; {', '.join(ran)}.",
        _table(heads, "llrrrll", map(_row, ordered)) if ordered else "",
        "\n".join(f"- **{_plain(keys)}** {outcome}: {_plain(reason)}" for outcome, keys, reason in told(ordered)),
        "\n".join(f"- Warning: {_plain(warning)}" for warning in result.warnings),
        _flipped(result.flips),
        _footer(result),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n\n"


def _row(verdict: Verdict) -> tuple[str, ...]:
    metric = verdict.limit.of
    return (
        f"{_SIGNS[verdict.outcome]} {verdict.outcome}",
        _plain(verdict.limit.subject),
        _plain(value_in_words(metric, verdict.value)),
        _plain(value_in_words(metric, verdict.reference)),
        _plain(change_in_words(verdict)),
        _plain(limit_in_words(verdict.limit)),
        _plain(verdict.limit.source),
    )


def _flipped(flips: tuple[Flip, ...]) -> str:
    if not flips:
        return ""
    rows = [
        (flip.kind, *(f"<code>{_plain(text)}</code>" for text in (flip.path, flip.label, flip.before, flip.after)))
        for flip in flips[:_FLIPS]
    ]
    kinds = [flip.kind for flip in flips]
    said = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("lost", "changed", "won") if kind in kinds)
    images = "1 image is" if len(flips) == 1 else f"{len(flips)} images are"
    more = f"\n\nand {len(flips) - _FLIPS} more" if len(flips) > _FLIPS else ""
    table = _table(("", "Image", "Class", "Before", "Now"), "lllll", rows)
    return f"<details>\n<summary>{images} answered differently: {said}</summary>\n\n{table}{more}\n\n</details>"


def _footer(result: GateResult) -> str:
    facts = (
        ("Machine", result.machine_class),
        ("Compared with", result.baseline),
        ("Accuracy on", result.data),
        ("Digest", result.subject.digest),
    )
    return "<br>\n".join(f"{name}: {_plain(fact)}" for name, fact in facts if fact)


def _table(heads: tuple[str, ...], sides: str, rows: Iterable[tuple[str, ...]]) -> str:
    rules = ("--:" if side == "r" else ":--" for side in sides)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, tuple(rules), *rows))


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", one_line(text))
