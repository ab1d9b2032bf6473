"""Options of a target whose backend is "tensorrt".

workspace_mib    memory that a layer may use while it computes and while its kernels are tried, in MiB; a build on
                 a machine with less free memory takes half of what is free
max_batch        images in one call of the engine at most; larger batches are run in parts
sparse_weights   look among kernels that skip zeros too, for weights that are 2:4; export sets it for such bundles. It
                 allows and forces nothing: where the others are faster they are taken
"""

from __future__ import annotations

from dataclasses import dataclass

from edgexfer.core.errors import SettingsError
from edgexfer.core.target import Target, options_for


@dataclass(frozen=True)
class Options:
    """See the module."""

    workspace_mib: int = 1024
    max_batch: int = 8
    sparse_weights: bool = False


def read_options(target: Target) -> Options:
    """Returns the target's options; the defaults where it is made for another backend.

    Raises:
        SettingsError: an unknown option, or one below 1.
    """
    options = options_for(target, "tensorrt", Options)
    for name, value in (("workspace_mib", options.workspace_mib), ("max_batch", options.max_batch)):
        if value < 1:
            raise SettingsError(f"{name} of target '{target.name}' is {value}, expected 1 or more")
    return options
