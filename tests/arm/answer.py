"""What an emulated CPU is asked to do: python -m tests.arm.answer OUT CASES BUNDLE...

    OUT      written: an .npz, its arrays named after what gave them
    CASES    folder with NAME.onnx and its input NAME.npy; the outcome is "NAME", and "NAME exact" with the session
             option by which the runtime avoids saturation on x86
    BUNDLE   answers its references, all at once ("FOLDER together"), and the first of them alone ("FOLDER alone")

On stdout: what edgexfer sees of the CPU, as JSON. Needs the base install and ONNX Runtime.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgexfer.backends import find_backend
from edgexfer.core.bundle import open_bundle
from edgexfer.gate.machine.host import host_facts


def main(out: str, cases: str, *bundles: str) -> None:
    """Does it."""
    found: dict[str, NDArray[Any]] = {}
    for model in sorted(Path(cases).glob("*.onnx")):
        pixels = np.load(model.with_suffix(".npy"))
        found[model.stem] = _run(model, pixels, exact=False)
        found[f"{model.stem} exact"] = _run(model, pixels, exact=True)
    for folder in map(Path, bundles):
        bundle = open_bundle(folder)
        pixels, _ = bundle.references()
        session = find_backend("ort").open_session(bundle, threads=1)
        found[f"{folder.name} together"] = session.run(pixels)
        found[f"{folder.name} alone"] = session.run(pixels[:1])
        session.close()
    np.savez(out, **found)  # type: ignore[arg-type]
    facts = host_facts()
    print(json.dumps({key: facts[key] for key in ("cpu", "isa", "architecture")}))


def _run(model: Path, pixels: NDArray[np.uint8], *, exact: bool) -> NDArray[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: NDArray[Any] = session.run(None, {"x": pixels})[0]
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:])
