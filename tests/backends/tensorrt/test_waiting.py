"""A build that does not end is given up, and said so; one that can be stopped is told to."""

from __future__ import annotations

import threading

import pytest

from edgexfer.backends.tensorrt import watch as module
from edgexfer.backends.tensorrt.watch import Watch, run_watched
from edgexfer.core.errors import BackendError


@pytest.mark.parametrize("stoppable", [True, False])
def test_a_build_without_end_is_given_up(stoppable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STOPS_WITHIN_SECONDS", 60.0)
    watch, released, stopped = Watch(None), threading.Event(), threading.Event()

    def build() -> None:
        while not released.wait(0.01) and (watch.goes_on() or not stoppable):
            pass
        stopped.set()

    with pytest.raises(BackendError, match=r"TensorRT has not built the engine within 0 s") as caught:
        run_watched(build, watch, stoppable=stoppable, limit_seconds=0.2)
    assert "edgexfer doctor" in caught.value.hint
    assert not watch.goes_on()
    assert stopped.is_set() == stoppable
    released.set()
    assert stopped.wait(60)


def test_one_that_ends_in_time_is_what_it_returns() -> None:
    assert run_watched(lambda: 7, Watch(None), stoppable=True, limit_seconds=60) == 7
