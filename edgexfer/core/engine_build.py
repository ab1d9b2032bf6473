"""What every backend that compiles does around its compiler: keep the engine that fits, else say why and build."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edgexfer.core.bundle import Bundle
from edgexfer.core.engine_store import check_writable, store_engine, tidy_engines, write_timing_cache
from edgexfer.core.engines import BuiltEngine, EngineKey, describe_engine, find_engine, why_rebuilt

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Compiled:
    """What a compiler made.

    Attributes:
        engine: serialized.
        seconds: that building took.
        timing_cache: what the builder knows now of its kernels on this machine; None where it keeps nothing.
    """

    engine: bytes
    seconds: float
    timing_cache: bytes | None = None


def keep_or_build(
    bundle: Bundle, key: EngineKey, compiled: Callable[[], Compiled], *, device: str, rebuild: bool
) -> BuiltEngine:
    """Returns the engine that is kept for `key`, or builds and stores it.

    Args:
        bundle: that the engine belongs to.
        key: of the engine.
        compiled: compiles it; called only where it is needed.
        device: what it is built for, in words.
        rebuild: build even where an engine is there that fits.

    Raises:
        ArtifactError: an engine is there that the bundle does not vouch for.
        EdgexferError: the bundle's folder cannot be written; or what `compiled` raises.
    """
    if not rebuild and find_engine(bundle, key) is not None:
        tidy_engines(bundle, key)
        return describe_engine(bundle, key, reused=True, reason=f"{bundle.precision}: the engine that is there fits")
    reason = f"{bundle.precision} is built: {'a new one was asked for' if rebuild else why_rebuilt(bundle, key)}"
    check_writable(bundle)
    log.info("%s, for %s", reason, device)
    made = compiled()
    store_engine(bundle, key, made.engine, build_seconds=made.seconds, replace=rebuild)
    if made.timing_cache is not None:
        write_timing_cache(bundle, key, made.timing_cache)
    return describe_engine(bundle, key, reused=False, reason=reason)
