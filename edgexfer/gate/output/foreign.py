"""Foreign text: labels, paths and names that others chose, made harmless for one line of whatever shows them."""

from __future__ import annotations

import re

_BREAKS = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
# Controls, signs that turn the direction of writing (they make "fail" look like something else), halves of characters
# that stand for bytes of a file name which is no UTF-8, and what XML 1.0 does not allow (section 2.2, Char).
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def one_line(text: str) -> str:
    """Returns the text on one line that any encoding, XML and terminal can show; "\ufffd" is for what they cannot."""
    return _HIDDEN.sub("\ufffd", _BREAKS.sub(" ", text))
