"""`edgexfer predict`: what is in these images?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgexfer.cli import show
from edgexfer.cli.options import BackendOption, BundleArgument, ThreadsOption
from edgexfer.core.errors import ImageError, SettingsError

if TYPE_CHECKING:
    from edgexfer.core.prediction import Prediction
    from edgexfer.runtime.classifier import Classifier

_WIDEST_PATH = 60


def predict(
    bundle: BundleArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")],
    top: Annotated[int, typer.Option("--top", metavar="K", help="Show the K most probable classes.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON record instead of lines.")] = False,
    backend: BackendOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Say what each image shows, and how sure the network is.

    An image that is unlike those of the training, as far as its score can tell, is marked as unknown.

    An image that cannot be read is named, the others are still answered, and the exit code is 2.
    """
    from edgexfer.runtime.classifier import load

    if top < 1:
        raise SettingsError(f"top is {top}, expected 1 or more")
    failures: list[ImageError] = []
    with load(bundle, backend=backend, threads=threads) as classifier:
        answers: list[dict[str, Any]] = []
        for path in images:
            try:
                prediction = classifier(path)
            except ImageError as error:
                failures.append(error)
                answers.append({"path": str(path), "error": error.message})
                if not as_json:
                    show.failed(error)
                continue
            answers.append(_answer(path, prediction, top))
            if not as_json:
                _print(path, prediction, top, _columns(images, classifier))
        if as_json:
            record: dict[str, Any] = {"kind": "predictions", "format_version": 1, "bundle": classifier.bundle.digest}
            record["known_from"] = classifier.known_from
            show.write_record({**record, "predictions": answers}, "-")
            for failure in failures:
                show.failed(failure)
    if failures:
        raise typer.Exit(2)


def _answer(path: Path, prediction: Prediction, top: int) -> dict[str, Any]:
    ranked = [{"label": label, "score": score} for label, score in prediction.top(top)]
    said = {"path": str(path), "label": prediction.label, "score": prediction.score, "unknown": prediction.unknown}
    return {**said, "top": ranked}


def _columns(images: list[Path], classifier: Classifier) -> tuple[int, int]:
    # Widths that are known beforehand, so that each line can be printed as soon as its image is done.
    path = max(len(show.printable(str(image))) for image in images)
    return min(path, _WIDEST_PATH), max(len(show.printable(label)) for label in classifier.labels)


def _print(path: Path, prediction: Prediction, top: int, widths: tuple[int, int]) -> None:
    name = show.printable(str(path))
    for rank, (label, score) in enumerate(prediction.top(top)):
        shown = name if rank == 0 else ""
        style = "bold" if rank == 0 else "dim"
        text = f"{shown:<{widths[0]}}  {show.printable(label):<{widths[1]}}  {100 * score:5.1f} %"
        mark = "  unknown" if rank == 0 and prediction.unknown else ""
        show.line(text + mark, style if top > 1 else "")
