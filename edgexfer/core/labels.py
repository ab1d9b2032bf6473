"""The ordered class list and its hash, compared at every step so that class ids never shift."""

from __future__ import annotations

import json
from collections.abc import Sequence

from edgexfer.core.errors import DataError
from edgexfer.core.files import sha256_of_bytes


def labels_digest(labels: Sequence[str]) -> str:
    """Returns the SHA-256 of the class names in their order (as a JSON list, UTF-8)."""
    return sha256_of_bytes(json.dumps(list(labels), ensure_ascii=False).encode())


def check_same_labels(expected: Sequence[str], found: Sequence[str], where: str, *, partial: bool = False) -> None:
    """Compares the classes of a data set with those of a model.

    Args:
        expected: the model's classes in their order.
        found: the classes that occur in `where`.
        where: what is named in the error, such as "split 'val' of data/signs".
        partial: accept that some of the expected classes do not occur.

    Raises:
        DataError: a class in `where` that the model does not know, or a class missing from it.
    """
    unknown = [name for name in found if name not in expected]
    if unknown:
        raise DataError(
            f"{where} has {_names(unknown)}, unknown to the model (its classes: {_short(expected)})",
            "remove or rename the folder, or fine-tune a new model with it",
        )
    missing = [name for name in expected if name not in found]
    if missing and not partial:
        raise DataError(
            f"{where} has no images of {_names(missing)}", "add images of it, or give --partial if that is meant"
        )


def _names(names: Sequence[str]) -> str:
    return f"class '{names[0]}'" if len(names) == 1 else f"classes {_short([repr(n) for n in names])}"


def _short(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
