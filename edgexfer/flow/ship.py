"""ship: a bundle of candidates and a choice -> the bundle that goes out, with what was measured inside it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from edgexfer.backends import builder_of, find_backend
from edgexfer.core.bundle import CANDIDATES, LAYERS, MODEL, REFERENCE, Bundle, open_bundle
from edgexfer.core.errors import SettingsError
from edgexfer.core.expected import count_answers
from edgexfer.core.files import write_file
from edgexfer.core.manifest import write_manifest
from edgexfer.core.staging import staged_folder
from edgexfer.flow.choose import Choice
from edgexfer.gate.measure.measured import Measured, write_measured


def write_shipped(
    bundle: Bundle,
    choice: Choice,
    out: Path,
    *,
    simulated: bool,
    overwrite: bool,
    unknown: dict[str, Any] | None = None,
    gain: dict[str, Any] | None = None,
) -> Bundle:
    """Writes the bundle with the chosen candidate as `model.onnx`.

    Where the device compiles engines the other candidates go along, since it may choose anew: after an update of
    its software, or because it is another board. Elsewhere one file is all that a device needs.

    Args:
        bundle: with all candidates; it is not changed.
        choice: what ships, and every record.
        out: the bundle's folder.
        simulated: whether another engine than the target's gave the accuracy.
        overwrite: replace an older `out`.
        unknown: which images are called so, see edgexfer/core/unknown.py; None where none is.
        gain: what the zeros of a sparse network gain, see edgexfer/core/bundle.py.

    Raises:
        EdgexferError: `out` exists or cannot be written.
    """
    best = choice.precision
    kept = kept_candidates(bundle, best)
    files = {name: MODEL if name == best else f"{CANDIDATES}/{name}.onnx" for name in kept}
    own = ("kind", "format_version", "digest", "files", "candidates")
    content: dict[str, Any] = {key: value for key, value in bundle.manifest.items() if key not in own}
    content |= {"precision": best, "simulated": simulated, "accuracy": _accuracy(choice.measured)}
    if len(files) > 1:
        content["candidates"] = files
    if unknown is not None:
        content["unknown"] = unknown
    if choice.measured:
        content["expected"] = {"precisions": {record.precision: _expected(record) for record in choice.measured}}
    if gain is not None:
        content["sparsity"] = {**content["sparsity"], "gain": gain}
    written = {REFERENCE, *bundle.candidates.values()}
    if "int8" not in kept:
        written.add(LAYERS)  # it is of a network that stays here
        content.pop("float_layers", None)
    with staged_folder(out, overwrite=overwrite) as stage:
        for name, place in files.items():
            (stage / place).parent.mkdir(exist_ok=True)
            shutil.copyfile(bundle.at(name).model, stage / place)
        for name in bundle.manifest["files"]:
            if name not in written:
                (stage / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(bundle.folder / name, stage / name)
        write_file(stage / REFERENCE, _references(bundle, list(files)))
        write_measured(stage, choice.measured)
        write_manifest(stage, "bundle", content)
        if (bundle.folder / "engines").is_dir():
            shutil.copytree(bundle.folder / "engines", stage / "engines")
    return open_bundle(out)


def kept_candidates(bundle: Bundle, best: str) -> list[str]:
    """Returns the precisions that go out where `best` is chosen, that one first."""
    return [best, *(name for name in bundle.candidates if name != best and _compiles(bundle))]


def _compiles(bundle: Bundle) -> bool:
    try:
        return builder_of(find_backend(bundle.target.backend)) is not None
    except SettingsError:
        return True  # not known here, so nothing that the device may want is thrown away


def _references(bundle: Bundle, names: list[str]) -> bytes:
    pixels, expected = bundle.at(names[0]).references()
    arrays = {f"probabilities.{name}": bundle.at(name).references()[1] for name in names[1:]}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, pixels=pixels, probabilities=expected, **arrays)
    return packed.getvalue()


def _expected(record: Measured) -> dict[str, Any]:
    answers = ((image.predicted, image.score) for image in record.evaluation.images)
    return count_answers(answers, "+".join(sorted(record.evaluation.roles()))).to_json()


def _accuracy(records: tuple[Measured, ...]) -> dict[str, Any]:
    return {
        record.precision: {
            "top1": record.evaluation.top1,
            "macro_f1": record.evaluation.macro_f1,
            "images": len(record.evaluation.images),
            "split": "+".join(sorted(record.evaluation.roles())),
        }
        for record in records
    }
