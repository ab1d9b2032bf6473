"""The engine cache as a build uses it: taken where it fits, made anew with the reason, or refused."""

from __future__ import annotations

import logging
import threading

import pytest

from edgexfer.core.errors import ArtifactError
from tests.backends.tensorrt.builder import BACKEND, BUILDER, Become, engines_of
from tests.backends.tensorrt.conftest import MakeBundle
from tests.backends.tensorrt.machine import Machine


class TestCache:
    def test_built_once_then_opened(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        first, second = BUILDER.build_engine(bundle), BUILDER.build_engine(bundle)
        assert len(machine.builds) == 1
        assert (first.reused, second.reused) == (False, True)
        assert first.reason == "float32 is built: no engine was built yet"
        assert second.reason == "float32: the engine that is there fits"
        assert first.folder == second.folder
        assert first.build_seconds == second.build_seconds
        BACKEND.open_session(bundle, threads=None).close()
        assert len(machine.builds) == 1

    def test_rebuilt_when_asked(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        BUILDER.build_engine(bundle)
        again = BUILDER.build_engine(bundle, rebuild=True)
        assert again.reason == "float32 is built: a new one was asked for"
        assert len(machine.builds) == 2

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ("engine", "TensorRT was 10.3.0 and is 10.7.0"),
            ("gpu", "the GPU was Orin (8.7) and is NVIDIA A10 (8.6)"),
            ("options", "options changed: batch was 1 to 8 and is 1 to 4"),
            ("types", "options changed: layer types was FP32+FP16+INT8 and is of the file"),
        ],
    )
    def test_rebuilt_with_the_reason(
        self,
        become: Become,
        machine: Machine,
        make: MakeBundle,
        caplog: pytest.LogCaptureFixture,
        change: str,
        reason: str,
    ) -> None:
        stale = BUILDER.build_engine(make("int8"))
        bundle = make("int8")
        if change == "engine":
            become("10.7.0")
        elif change == "gpu":
            machine.gpu, machine.compute_capability = "NVIDIA A10", "8.6"
        elif change == "options":
            bundle = make("int8", options={"max_batch": 4})
        else:
            bundle = make("int8", float_type="float16")
        with caplog.at_level(logging.INFO):
            BACKEND.open_session(bundle, threads=None).close()
        assert f"int8 is built: {reason}" in caplog.text
        assert len(machine.builds) == 2
        assert not stale.folder.exists()
        assert BUILDER.build_engine(bundle).reused

    def test_foreign_and_tampered_engines_are_never_run(
        self, become: Become, machine: Machine, make: MakeBundle
    ) -> None:
        bundle = make()
        ours = BUILDER.build_engine(bundle).folder
        become("10.7.0")
        theirs = BUILDER.build_engine(bundle).folder
        become("10.3.0")
        theirs.rename(ours)
        for attempt in (lambda: BUILDER.build_engine(bundle), lambda: BACKEND.open_session(bundle, threads=None)):
            with pytest.raises(ArtifactError, match=r"foreign engine .*TensorRT was 10\.7\.0 and") as caught:
                attempt()  # type: ignore[no-untyped-call]
            assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"
        assert not BUILDER.build_engine(bundle, rebuild=True).reused
        (ours / "engine.bin").write_bytes((ours / "engine.bin").read_bytes() + b"\0")
        with pytest.raises(ArtifactError, match="SHA-256 differs") as caught:
            BACKEND.open_session(bundle, threads=None)
        assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"
        assert not BUILDER.build_engine(bundle, rebuild=True).reused
        BACKEND.open_session(bundle, threads=None).close()
        assert machine.batches

    def test_the_timing_cache_is_used_and_renewed(
        self, become: Become, machine: Machine, make: MakeBundle, caplog: pytest.LogCaptureFixture
    ) -> None:
        bundle = make()
        BUILDER.build_engine(bundle)
        BUILDER.build_engine(bundle, rebuild=True)
        assert [record["cache"] for record in machine.builds] == [b"", b"10.3.0 on Orin 8.7;tactics"]
        (path,) = (bundle.folder / "engines").glob("timing-*.cache")
        path.write_bytes(path.read_bytes()[:-1])
        BUILDER.build_engine(bundle, rebuild=True)
        assert machine.builds[2]["cache"] == b""
        assert f"{path} is damaged" in caplog.text
        become("10.7.0")
        BUILDER.build_engine(bundle)
        assert machine.builds[3]["cache"] == b""

    def test_a_timing_cache_that_tensorrt_refuses_is_made_anew(
        self, machine: Machine, make: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("edgexfer.backends.tensorrt.read_timing_cache", lambda *_: b"of another driver")
        assert not BUILDER.build_engine(make()).reused
        assert machine.builds[0]["cache"] == b""

    def test_two_builds_at_once(self, machine: Machine, make: MakeBundle) -> None:
        bundle = make()
        both = threading.Barrier(2)
        machine.on_step = lambda: both.wait(10) if machine.builds == [] else None
        machine.steps = 1
        answers: list[object] = []

        def work() -> None:
            session = BACKEND.open_session(bundle, threads=None)
            answers.append(session.run(bundle.references()[0]).argmax(1).tolist())
            session.close()

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(machine.builds) == 2
        assert len(answers) == 2
        assert answers[0] == answers[1]
        assert len([name for name in engines_of(bundle) if not name.startswith("timing")]) == 1
