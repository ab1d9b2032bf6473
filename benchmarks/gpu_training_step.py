"""The whole training step on a GPU: images a second of `edgexfer finetune` against timm's own train script.

    python benchmarks/gpu_training_step.py --timm-train pytorch-image-models/train.py [--data DATA]

The script is in timm's repository, not in its wheel; take the release that is installed here. Both train the same
architecture from random weights on the same images, with the same batch, input size and precision (bfloat16, channels
last), with AdamW and without mixing, and judge after each epoch on the same val images. Each is run with few and with
many epochs: what the longer run takes more, divided by what it sees more, is the step with all that belongs to it
(reading, augmentation, network, validation), without start-up. Short and long runs alternate.

DATA has train/ and val/ with class folders; hymenoptera is looked for in EDGEXFER_DATA and beside the checkout. Without
a GPU it says so and measures nothing. Exit code 1 where edgexfer is not GOAL times as fast.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from parts.images import find_images
from parts.machine import machine_line, versions_of

from edgexfer.core.dataset import read_dataset
from edgexfer.core.errors import EdgexferError
from edgexfer.core.threads import cpu_count
from edgexfer.train.backbones import find_backbone

GOAL = 3.0


def main() -> int:
    """Measures both, prints the table and returns the exit code."""
    arguments = _arguments()
    reason = _missing(arguments.timm_train)
    try:
        data = find_images(arguments.data, Path())
    except EdgexferError as error:
        reason = reason or f"{error.message} ({error.hint})"
    if reason is not None:
        print(f"skipped: {reason}")
        return 0
    images = sum(sample.split == "train" for sample in read_dataset(data).samples)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        commands = {
            "timm train.py": lambda epochs: timm_command(arguments, data, folder, epochs),
            "edgexfer finetune": lambda epochs: edgexfer_command(arguments, data, folder, epochs),
        }
        rates: dict[str, list[float]] = {title: [] for title in commands}
        for _ in range(arguments.repeats):
            for title, command in commands.items():
                few, many = (seconds(command(epochs)) for epochs in (arguments.few, arguments.many))
                rates[title].append(images * (arguments.many - arguments.few) / (many - few))
    print(
        f"\n{arguments.backbone}, {images} training images, batch {arguments.batch_size}, {arguments.input_size} pixels"
    )
    print(f"{'':20} {'images/s':>9}   of each repeat")
    for title, found in rates.items():
        print(f"{title:20} {statistics.median(found):9.0f}   {', '.join(f'{rate:.0f}' for rate in found)}")
    times = statistics.median(rates["edgexfer finetune"]) / statistics.median(rates["timm train.py"])
    print(f"edgexfer is {times:.1f} times as fast; goal {GOAL:g}: {'reached' if times >= GOAL else 'MISSED'}")
    print(f"{_gpu()}; {machine_line(cpu_count(), versions_of('torch', 'timm', 'lightning'))}")
    return 0 if times >= GOAL else 1


def timm_command(arguments: argparse.Namespace, data: Path, folder: Path, epochs: int) -> list[str]:
    """Returns the command line of timm's train script."""
    side = str(arguments.input_size)
    return [
        *(sys.executable, str(arguments.timm_train), str(data), "--train-split", "train", "--val-split", "val"),
        *("--model", find_backbone(arguments.backbone).architecture.partition(".")[0]),
        *("--num-classes", str(len(read_dataset(data).labels)), "--input-size", "3", side, side),
        *("--batch-size", str(arguments.batch_size), "--epochs", str(epochs), "--opt", "adamw", "--lr", "1e-4"),
        *("--amp", "--amp-dtype", "bfloat16", "--channels-last", "--pin-mem", "--workers", str(cpu_count())),
        *("--warmup-epochs", "0", "--cooldown-epochs", "0", "--output", str(folder / "timm")),
    ]


def edgexfer_command(arguments: argparse.Namespace, data: Path, folder: Path, epochs: int) -> list[str]:
    """Returns the command line of edgexfer; nothing ends it early, and it mirrors images as timm does."""
    config = folder / "settings.toml"
    config.write_text('patience = 100000\naugmentation = "light"\ntemperature_scaling = false\n', encoding="utf-8")
    return [
        *(sys.executable, "-m", "edgexfer", "finetune", str(data), "--out", str(folder / "run"), "--overwrite"),
        *("--backbone", arguments.backbone, "--weights", "none", "--strategy", "finetune", "--mirror"),
        *("--batch-size", str(arguments.batch_size), "--input-size", str(arguments.input_size)),
        *("--epochs", str(epochs), "--device", "cuda", "--config", str(config)),
    ]


def seconds(command: Sequence[str]) -> float:
    """Runs a command to its end and returns how long that took.

    Raises:
        RuntimeError: it failed; the end of what it said is in the message.
    """
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    taken = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return taken


def _missing(script: Path | None) -> str | None:
    import torch

    if not torch.cuda.is_available():
        return "PyTorch sees no GPU here, and this is about one"
    if script is None or not script.is_file():
        return "timm's train.py is not here; give it with --timm-train (git clone huggingface/pytorch-image-models)"
    return None


def _gpu() -> str:
    import torch

    return f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--timm-train", type=Path, default=os.environ.get("TIMM_TRAIN"), help="timm's train.py")
    parser.add_argument("--data", default="hymenoptera", help="a name or a folder with train/ and val/")
    parser.add_argument("--backbone", default="efficientnet-lite0", help="one of timm's architectures")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--input-size", type=int, default=224)
    parser.add_argument("--few", type=int, default=3, help="epochs of the short run")
    parser.add_argument("--many", type=int, default=23, help="epochs of the long one")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
