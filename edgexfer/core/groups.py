"""Groups: images that belong together (one person, one machine, one film) and so never lie on both sides of a split.

A group's name stands in a column of the CSV, or is found in each path by a regular expression with one capturing
group. Two images are in one group where the names are the same text, in whatever class they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgexfer.core.errors import DataError, SettingsError
from edgexfer.core.sample import SPLITS, Sample

_EXAMPLE = r"'([^/]*)_\d+\.jpg' takes what stands before the last number in a file's name"


def groups_of(names: Sequence[str], pattern: str, where: str) -> list[str | None]:
    r"""Finds each image's group in its path.

    The expression is searched, not matched: what stands before and after it does not matter. Where it fits and its
    capturing group takes no part, as in `([^/]*)_\d+\.jpg|$`, the image is by itself.

    Args:
        names: paths relative to the data set's root, with forward slashes.
        pattern: a regular expression with one capturing group.
        where: the data set, as errors name it.

    Returns:
        A group for each path, None where the image is by itself.

    Raises:
        SettingsError: not a regular expression, or with none or several capturing groups.
        DataError: it does not fit every path.
    """
    expression = group_pattern(pattern, where)
    found = [expression.search(name) for name in names]
    missed = [name for name, match in zip(names, found, strict=True) if match is None]
    if missed:
        raise DataError(
            f"--group '{pattern}' does not fit {len(missed)} of {len(names)} images in {where}, such as {missed[0]}",
            f"mend it, or let it fit images that are in no group as well: '{pattern}|$'",
        )
    return [match[1] or None for match in found if match is not None]


def group_pattern(pattern: str, where: str) -> re.Pattern[str]:
    """Compiles what finds a group's name in a path.

    Args:
        pattern: a regular expression with one capturing group.
        where: the data set, as errors name it.

    Raises:
        SettingsError: not a regular expression, or with none or several capturing groups.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"--group '{pattern}' is not a regular expression: {error}", _EXAMPLE) from error
    if expression.groups != 1:
        count = expression.groups or "no"
        named = f"{where} has no column of this name; " if expression.groups == 0 and where.endswith(".csv") else ""
        further = "write further ones as (?:...); " if expression.groups else ""
        raise SettingsError(
            f"--group '{pattern}' has {count} capturing group{'s' if expression.groups else ''}, expected one",
            f"{named}{further}such as {_EXAMPLE}",
        )
    return expression


def straddling(samples: Iterable[Sample]) -> dict[str, tuple[str, ...]]:
    """Returns {group: its splits} of the groups whose images lie in several splits that the user has made."""
    splits: dict[str, set[str]] = {}
    for sample in samples:
        if sample.group is not None and sample.split is not None:
            splits.setdefault(sample.group, set()).add(sample.split)
    return {group: tuple(sorted(found, key=SPLITS.index)) for group, found in sorted(splits.items()) if len(found) > 1}
