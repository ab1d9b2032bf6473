"""`edgexfer`: the verbs, and the one place where errors become a line and an exit code.

Exit codes: 0 done or passed, 1 a gate failed or lint found something, 2 the user's mistake or a missing part,
3 inconclusive, 130 interrupted, 143 ended by SIGTERM, 129 by SIGHUP. An exception that is none of these is a bug of
ours, keeps its traceback and exits with 70 (EX_SOFTWARE of sysexits.h): Python's own 1 would tell a CI that the
gate failed.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

import edgexfer
from edgexfer.cli import (
    backbones,
    baseline,
    bench,
    build,
    compress,
    data,
    demo,
    doctor,
    evaluate,
    export,
    finetune,
    gate,
    keygen,
    lint,
    predict,
    report,
    show,
    sign,
    sweep,
    targets,
    verify,
)
from edgexfer.cli.ended import ended_in_order
from edgexfer.cli.options import examples
from edgexfer.core.errors import EdgexferError, did_you_mean

_MAKE, _USE, _KNOW = "Make", "Use and measure", "Look things up"
_OUR_BUG = 70
_INTERRUPTED = 130
_SYSTEM_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="edgexfer",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "edgexfer demo  # all of it on an embedded example",
        "edgexfer finetune photos/ --out runs/mine",
        "edgexfer export runs/mine --target x86-cpu --out mine.edgx",
        "edgexfer predict mine.edgx photo.jpg",
    ),
)


@app.callback(invoke_without_command=True)
def edgexfer_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log what is done; twice for more.")
    ] = 0,
) -> None:
    """From a folder of images to a small INT8 classifier that runs on a device and is proven there."""
    if version:
        show.line(f"edgexfer {edgexfer.__version__}")
        raise typer.Exit
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("edgexfer").setLevel(levels[min(verbose, 2)])
    if context.invoked_subcommand is None and (text := context.get_help().strip()):
        typer.echo(text)  # not so with rich: it has printed itself


def _add(verb: Any, panel: str, *lines: str) -> None:
    app.command(verb.__name__, epilog=examples(*lines), rich_help_panel=panel)(verb)


_add(demo.demo, _MAKE, "edgexfer demo", "edgexfer demo --out /tmp/demo")
_add(
    finetune.finetune,
    _MAKE,
    "edgexfer finetune photos/",
    "edgexfer finetune photos/ --out runs/small --backbone mobilenetv2-050 --epochs 20",
    "edgexfer finetune photos/ --config settings.toml",
    "edgexfer finetune photos/ --resume  # after an interruption",
    "edgexfer finetune photos/ --logger mlflow  # and tensorboard, wandb; nothing leaves the machine",
)
_add(
    sweep.sweep,
    _MAKE,
    "edgexfer sweep photos/ --target x86-cpu --trials 30",
    "edgexfer sweep photos/ --target raspberry-pi-5 --backbone mobilenetv2-100 --input-size 96 --input-size 128",
    "edgexfer sweep photos/ --target x86-cpu --max-latency-ms 8 --time-budget 3600",
    "edgexfer sweep photos/ --target x86-cpu --storage postgresql://me@host/sweeps  # on as many machines as you like",
)
_add(
    export.export,
    _MAKE,
    "edgexfer export runs/photos --target x86-cpu",
    "edgexfer export runs/photos --target raspberry-pi-5 --out photos.edgx",
    "edgexfer export runs/photos --target x86-cpu --precision float32",
    "edgexfer export runs/photos --target x86-cpu --prune latency=0.6  # six tenths of the latency, by fewer channels",
    "edgexfer export runs/photos --target jetson-orin-nano --sparsity 2:4  # for the sparse cores of its GPU",
    "edgexfer export runs/photos --target jetson-orin-nano --on me@orin  # built and measured there",
)
_add(
    compress.compress,
    _MAKE,
    "edgexfer compress runs/photos",
    "edgexfer compress runs/photos --target jetson-orin-nano --epochs 4",
)
_add(
    build.build,
    _USE,
    "edgexfer build signs.edgx  # on the device that will run it",
    "edgexfer build signs.edgx --data data/signs",
    "edgexfer build signs.edgx --trtexec  # the same by hand",
)
_add(
    predict.predict,
    _USE,
    "edgexfer predict signs.edgx photo.jpg",
    "edgexfer predict signs.edgx *.jpg --top 3",
    "edgexfer predict signs.edgx *.jpg --json > answers.json",
)
_add(
    evaluate.evaluate,
    _USE,
    "edgexfer evaluate signs.edgx data/signs  # judged by the images held out",
    "edgexfer evaluate signs.edgx new_photos/ --json evaluation.json",
    "edgexfer evaluate signs.edgx data/signs --split val",
)
_add(
    bench.bench,
    _USE,
    "edgexfer bench signs.edgx",
    "edgexfer bench signs.edgx --threads 1 --images photos/",
    "edgexfer bench signs.edgx --threads 1,2,4 --batch 1,8  # how latency and throughput change with them",
    "edgexfer bench new.edgx --against old.edgx  # in turns, with a confidence interval",
    "edgexfer bench signs.edgx --on me@orin --on me@pi  # there, side by side",
)
_add(
    gate.gate,
    _USE,
    "edgexfer gate new.edgx --baseline old.edgx  # in turns, on this machine",
    "edgexfer gate new.edgx --baseline baselines/ --junit gate.xml --markdown gate.md",
    "edgexfer gate new.edgx --data data/signs --set top1.min=0.98 --set latency_p95_ms.max=12",
    "edgexfer gate --metrics  # what can have a limit",
)
_add(lint.lint, _USE, "edgexfer lint signs.edgx")
_add(
    report.report,
    _USE,
    "edgexfer report runs/mine",
    "edgexfer report signs.edgx --data data/signs --out signs.html  # with pictures of what went wrong",
    "edgexfer report signs.edgx --gate gate.json  # with the verdicts",
)
_add(
    verify.verify,
    _USE,
    "edgexfer verify signs.edgx  # what is in it, and what vouches for it",
    "edgexfer verify signs.edgx.zip --trust release.pub",
)
_add(sign.sign, _USE, "edgexfer sign signs.edgx --key release", "edgexfer sign signs.edgx --key release --version 7")
_add(keygen.keygen, _USE, "edgexfer keygen release  # and release.pub", "edgexfer keygen release --encrypt")
app.add_typer(data.app, name="data", rich_help_panel=_MAKE)
app.add_typer(baseline.app, name="baseline", rich_help_panel=_USE)
_add(targets.targets, _KNOW, "edgexfer targets", "edgexfer targets raspberry-pi-5")
_add(backbones.backbones, _KNOW, "edgexfer backbones", "edgexfer backbones mobilenetv2-100")
_add(doctor.doctor, _KNOW, "edgexfer doctor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits; `arguments` are those of the process by default."""
    came: list[int] = []
    try:
        with ended_in_order() as came:
            code = run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:  # with the last line
        code = _INTERRUPTED
    except Exception:  # noqa: BLE001 - whatever it is, it is ours
        code = _OUR_BUG
        if not came:  # else it may be the terminal that is gone
            traceback.print_exc()
    sys.exit(128 + came[0] if came else code)


def run(arguments: Sequence[str]) -> int:
    """Runs the command line and returns the exit code."""
    try:
        code = app(args=list(arguments), prog_name="edgexfer", standalone_mode=False)
        sys.stdout.flush()
    except EdgexferError as error:
        show.failed(error)
        return 2
    except show.Interrupted as error:
        return _interrupted(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        return _reader_left()
    except SystemExit as error:
        # rich and Lightning end the process themselves, where they meet one of these two.
        if isinstance(error.__context__, BrokenPipeError):
            return _reader_left()
        if isinstance(error.__context__, KeyboardInterrupt):
            return _interrupted()
        raise
    except OSError as error:
        if error.errno not in _SYSTEM_REFUSALS:
            raise
        return _refused(error)
    except Exception as error:
        # The parser's own errors: a class of click or of Typer's copy of it, by version, and so known by its shape.
        if not hasattr(error, "format_message"):
            raise
        return _misused(error)
    # Typer turns Ctrl-C into this code on its own.
    return _interrupted() if code == _INTERRUPTED else code if isinstance(code, int) else 0


def _interrupted(command: str = "") -> int:
    text = f"interrupted; go on with: {command}" if command else "interrupted"
    with suppress(OSError):  # the terminal may be gone: that is what SIGHUP says
        show.console(stderr=True).print(text, soft_wrap=True, markup=False)
    return _INTERRUPTED


def _reader_left() -> int:
    # `| head` has seen enough. What Python still wants to flush at its end goes nowhere, quietly.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _refused(error: OSError) -> int:
    place = f" {error.filename}" if error.filename else " on standard output" if error.errno == errno.ENOSPC else ""
    if not error.filename:
        _reader_left()  # later releases of Python 3.13 would try the same bytes again at their end, and exit with 120
    show.failed(EdgexferError(f"the system refuses{place}: {error.strerror}", "check permissions and free space there"))
    return 2


def _misused(error: Any) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return 2  # the help was printed when it was raised
    path = context.command_path if context is not None else "edgexfer"
    message, hint = " ".join(error.format_message().split()), f"see `{path} --help`"
    if close := getattr(error, "possibilities", None):
        message, hint = f"no such option: {error.option_name}", f"did you mean {' or '.join(close)}? {hint}"
    elif context is not None and (unknown := re.match(r"No such command '(.+?)'", message)):
        message, hint = (
            f"no such command '{unknown[1]}'",
            did_you_mean(unknown[1], context.command.list_commands(context)),
        )
    show.failed(EdgexferError(message, hint))
    return 2
