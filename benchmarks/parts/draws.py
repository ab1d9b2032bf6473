"""What benchmarks that train on several draws of one data set have in common."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from parts.images import find_images, usable_images

from edgexfer.core.errors import EdgexferError
from edgexfer.core.intake import Usable

Figures = TypeVar("Figures")
OneDraw = Callable[[Sequence[Usable], int, Path, argparse.Namespace], dict[str, Figures]]


def over_draws(one_draw: OneDraw[Figures], arguments: argparse.Namespace) -> dict[str, list[Figures]]:
    """Returns what came of each draw, by name; says why and returns nothing where the images cannot be had.

    Args:
        one_draw: called with the images, the seed, a folder that does not exist yet, and `arguments`.
        arguments: of `draw_arguments`.
    """
    found: dict[str, list[Figures]] = {}
    try:
        with tempfile.TemporaryDirectory() as folder:
            given = usable_images(find_images(arguments.data, Path(folder)))
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.draws):
                for name, figures in one_draw(given, seed, Path(folder) / str(seed), arguments).items():
                    found.setdefault(name, []).append(figures)
    except EdgexferError as error:
        print(f"skipped: {error.message}" + (f" ({error.hint})" if error.hint else ""))
        return {}
    return found


def draw_arguments(description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of what such benchmarks take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="signs", help="name or path of a data set, signs by default")
    parser.add_argument("--draws", type=int, default=1, help="divisions and seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first draw; the others follow it")
    parser.add_argument("--epochs", type=int, help="at most, of every training")
    parser.add_argument("--size", type=int, help="input side in pixels, instead of what the images say")
    parser.add_argument("--cores", type=int, default=2)
    return parser
