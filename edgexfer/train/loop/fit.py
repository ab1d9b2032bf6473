"""fit: runs a Trainee through Lightning's loop and leaves the best epoch's weights, resumably, in a folder.

    history.csv                one row per epoch; epoch 0 is the network before the first step
    best.safetensors           the weights of the best epoch so far; their moving average where the schedule has one
    trainer/last.safetensors   everything that `resume` needs: weights, optimizer, schedule, loop, this callback

Each is written beside its place and renamed into it, so that a kill at any moment leaves all three whole.
"""

from __future__ import annotations

import csv
import io
import logging
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import safetensors.torch
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, TQDMProgressBar
from lightning.pytorch.strategies import DDPStrategy

from edgexfer.core.errors import SettingsError
from edgexfer.core.files import write_file
from edgexfer.train.loop.trackers import Tracking
from edgexfer.train.loop.trainee import GRADIENT_CLIP, Trainee
from edgexfer.train.loop.trainer_state import SafetensorsIO
from edgexfer.train.loop.weight_average import WeightAverage
from edgexfer.train.network import DEPTHS
from edgexfer.train.processes.distributed import Job, lightning_environment, rank_and_size, send
from edgexfer.train.processes.place import Place, find_place
from edgexfer.train.processes.share import ALONE, Share
from edgexfer.train.processes.shared_pixels import share_pixels

log = logging.getLogger(__name__)

HISTORY, BEST, STATE = "history.csv", "best.safetensors", "trainer/last.safetensors"
_FIGURES = ("train_loss", "val_loss", "val_top1", "val_macro_f1", "learning_rate", "seconds")
COLUMNS = ("epoch", "stage", *_FIGURES)
_STAYS_NEAR = ("qat", "prune", "sparsity")  # stages whose first epoch is the one to beat
_WATCHED = {
    "prune": "val_score",
    "sparsity": "val_score",
}  # what patience waits for; what is not here waits for a higher top-1


def fit(
    trainee: Trainee,
    folder: Path,
    *,
    stage: str,
    patience: int | None,
    device: str,
    tracked: Tracking | None = None,
    tracked_as: str | None = None,
) -> dict[str, Any]:
    """Trains `trainee`; afterwards its network has the weights of the best epoch, epoch 0 included.

    Best is what `Trainee.score` says.

    Args:
        trainee: what is trained, in place.
        folder: where state is kept; training goes on from it where it holds any.
        stage: goes into the history, such as "finetune" or "qat".
        patience: epochs without a higher top-1 on the validation images after which it ends; None for never. What
            counts is the best of the epochs: from a fitted head the first steps lead down, and the way up again is
            slower than any patience. A network that is quantized, pruned or sparse has nowhere to climb but where it
            was. The latter two are waited for as long as they come closer to their teacher: top-1 hardly moves then.
        device: "cpu" or "cuda".
        tracked: takes each row of the history as metrics "STAGE/COLUMN". Lightning's Trainer does not get the loggers
            themselves: it would end their runs after the validation that comes first, and count in steps.
        tracked_as: what stands for STAGE there, where one run is quantized more than once.

    Returns:
        The record of the best epoch: epoch, and the figures of its validation.
    """
    options: dict[str, Any] = {"stage": stage, "patience": patience, "device": device}
    with _led(trainee, folder / STATE, options):
        best = run_loop(trainee, folder, lambda row: _track(tracked, tracked_as or stage, row), **options)
    trainee.network.load_state_dict(safetensors.torch.load_file(folder / BEST))
    trainee.network.cpu().to(memory_format=torch.contiguous_format).eval()
    return best


def run_loop(
    trainee: Trainee,
    folder: Path,
    on_row: Callable[[dict[str, Any]], None] = lambda _: None,
    *,
    stage: str,
    patience: int | None,
    device: str,
) -> dict[str, Any]:
    """Runs Lightning's loop, in all processes of a run together; only the first of them writes.

    Returns:
        The record of the best epoch.
    """
    rank, size = rank_and_size()
    place = find_place() if size > 1 else Place()
    trainee.share = Share(rank, size)
    if device == "cuda":  # cuDNN would turn every weight around in every step
        trainee.network.to(memory_format=torch.channels_last)
    average = WeightAverage(trainee.schedule.ema) if trainee.schedule.ema else None
    keeper = KeepBest(folder, stage, on_row, average)
    callbacks: list[Callback] = [keeper] if average is None else [average, keeper]
    stopper = EarlyStopping(
        _WATCHED.get(stage, "val_top1"), mode="max", patience=patience or 0, check_on_train_epoch_end=False
    )
    if patience is not None:
        callbacks.append(stopper)
    on_terminal = sys.stdout.isatty() and rank == 0
    bar = TQDMProgressBar(leave=False)
    if on_terminal:
        callbacks.append(bar)
    with _quiet_lightning(), _interruptible(), _feeding(trainee):
        trainer = lightning.Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=place.local_size,
            num_nodes=place.nodes,
            # Layers that are frozen in some epochs have no gradient then, and DDP would wait for it.
            strategy=DDPStrategy(find_unused_parameters=trainee.schedule.trainable_groups != (DEPTHS,))
            if size > 1
            else "auto",
            # Quantizers need the float's full width: steps of 1/255 of a range get lost in bf16.
            precision="32-true" if stage == "qat" else precision_for(device),
            benchmark=device == "cuda",  # all batches but an epoch's last have one size
            max_epochs=trainee.schedule.epochs,
            callbacks=callbacks,
            plugins=[SafetensorsIO(), lightning_environment(place)],
            logger=False,
            use_distributed_sampler=False,  # every process takes every step, and knows its share of the batch
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=on_terminal,
            num_sanity_val_steps=0,
            gradient_clip_val=GRADIENT_CLIP,
        )
        state = folder / STATE
        resumed = state.exists()
        if not resumed:
            bar.disable()
            trainer.validate(trainee, verbose=False)
            bar.enable()
            keeper.record(trainee, epoch=0, train_loss=None, learning_rate=0.0)
            if stage in _STAYS_NEAR:
                stopper.best_score = trainer.callback_metrics[stopper.monitor].clone()
        trainer.fit(trainee, ckpt_path=str(state) if resumed else None)
    return keeper.best


@contextmanager
def _led(trainee: Trainee, state: Path, options: dict[str, Any]) -> Iterator[None]:
    """Lets the other processes of this run take part in the block's loop; does nothing where there are none."""
    if rank_and_size()[1] == 1:
        yield
        return
    if trainee.renews and find_place().nodes > 1:
        raise SettingsError(
            "shards are streamed on one machine, this run has several",
            "leave --nnodes away, or give a folder of images",
        )
    cache = trainee.leave_pixels()
    send(Job(trainee, options, state.read_bytes() if state.exists() else None))
    trainee.take_pixels(share_pixels(cache))
    yield


@contextmanager
def _feeding(trainee: Trainee) -> Iterator[None]:
    try:
        yield
    finally:
        trainee.close_feed()
        trainee.share = ALONE


def precision_for(device: str) -> Any:
    """Returns Lightning's name of the precision that `device` trains in."""
    if device != "cuda":
        return "32-true"
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"


class KeepBest(Callback):
    """Keeps the best weights, the history and the state to resume from, after every epoch.

    Args:
        folder: where they are kept.
        stage: goes into the history.
        on_row: called with each row of the history.
        average: whose weights were validated in the network's place, and are kept.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        on_row: Callable[[dict[str, Any]], None] = lambda _: None,
        average: WeightAverage | None = None,
    ) -> None:
        self.best: dict[str, Any] = {}
        self._folder, self._stage, self._on_row, self._average = folder, stage, on_row, average
        self._rows: list[dict[str, Any]] = []
        self._ended = False
        self._began = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Returns what a resumed run needs."""
        return {"best": self.best, "rows": self._rows, "ended": self._ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what `state_dict` returned."""
        self.best, self._rows = state_dict["best"], state_dict["rows"]
        self._ended = state_dict.get("ended", False)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Trains no more where patience had run out before: what was interrupted then had only its end before it."""
        del pl_module
        trainer.should_stop = trainer.should_stop or self._ended

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Starts the epoch's clock."""
        del trainer, pl_module
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Records the epoch that just ended, its validation included, and saves the state to resume from."""
        assert isinstance(pl_module, Trainee)  # noqa: S101 - `fit` takes nothing else
        loss = float(trainer.callback_metrics["train_loss"])
        rate = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        self.record(pl_module, epoch=trainer.current_epoch + 1, train_loss=loss, learning_rate=rate)
        self._ended = trainer.should_stop
        trainer.save_checkpoint(self._folder / STATE)

    def record(self, trainee: Trainee, *, epoch: int, train_loss: float | None, learning_rate: float) -> None:
        """Adds a row to the history and keeps the weights where they are the best so far."""
        found, score = trainee.validation, trainee.score()
        row = {
            "epoch": epoch,
            "stage": self._stage,
            "train_loss": "" if train_loss is None else round(train_loss, 5),
            "val_loss": round(found["loss"], 5),
            "val_top1": round(found["top1"], 5),
            "val_macro_f1": round(found["macro_f1"], 5),
            "learning_rate": f"{learning_rate:.3g}",
            "seconds": round(time.monotonic() - self._began, 1),
        }
        self._rows = [*self._rows, row]
        better = not self.best or score > tuple(self.best["score"])
        if better:
            self.best = {"epoch": epoch, "score": list(score), **found}
        if trainee.share.rank > 0:  # the first process writes, for all of them
            return
        if better:
            judged = (
                trainee.network.state_dict() if self._average is None else self._average.weights_of(trainee.network)
            )
            state = {name: value.detach().cpu().contiguous() for name, value in judged.items()}
            write_file(self._folder / BEST, safetensors.torch.save(state))
        _write_history(self._folder / HISTORY, self._rows)
        self._on_row(row)
        mark = "  <- best" if better else ""
        loss = f"train loss {train_loss:.4f}  " if train_loss is not None else ""
        log.info(
            "%s epoch %d/%d  %sval loss %.4f  val top-1 %.2f %%  %.0f s%s",
            self._stage,
            epoch,
            trainee.schedule.epochs,
            loss,
            found["loss"],
            100 * found["top1"],
            row["seconds"],
            mark,
        )


def _track(tracked: Tracking | None, stage: str, row: dict[str, Any]) -> None:
    if tracked is not None:
        figures = {f"{stage}/{name}": float(row[name]) for name in _FIGURES if row[name] != ""}
        tracked.figures(figures, step=row["epoch"])


def _write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue())


@contextmanager
def _interruptible() -> Iterator[None]:
    """Lets Ctrl-C be a KeyboardInterrupt: Lightning ends the process instead, and ignores the signal from then on."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        if signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silences what Lightning says about loaders and hardware that are chosen on purpose here."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=r".*(num_workers|log_every_n_steps|GPU available).*")
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")  # says DDP
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
