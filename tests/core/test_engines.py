"""Engines in a bundle: found by all that decides whether they fit, vouched for, whole or absent, said why not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.engine_choice import EngineChoice, write_choice
from edgexfer.core.engine_store import (
    check_writable,
    read_timing_cache,
    store_engine,
    tidy_engines,
    write_timing_cache,
)
from edgexfer.core.engines import (
    BuiltEngine,
    EngineKey,
    describe_engine,
    find_engine,
    load_engine,
    why_rebuilt,
)
from edgexfer.core.errors import ArtifactError, EdgexferError
from edgexfer.core.manifest import write_manifest

KEY = EngineKey("a" * 64, "int8", "tensorrt 10.3.0", "Orin", "8.7", (("workspace_mib", "1024"), ("batch", "1 to 8")))
ENGINE = b"\x7fengine" * 1000
TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)


@pytest.fixture
def bundle(bundle_folder: Path) -> Bundle:
    return open_bundle(bundle_folder)


@pytest.fixture
def engine(bundle: Bundle) -> Path:
    return store_engine(bundle, KEY, ENGINE, build_seconds=12.5)


def files_of(bundle: Bundle) -> list[str]:
    return sorted(path.name for path in (bundle.folder / "engines").iterdir())


class TestKey:
    def test_the_digest_does_not_depend_on_the_order_of_options(self) -> None:
        turned = replace(KEY, options=tuple(reversed(KEY.options)))
        assert turned == KEY
        assert turned.digest == KEY.digest
        assert len(KEY.digest) == 64

    @given(
        st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3)),
        st.tuples(TEXT, TEXT, TEXT, TEXT, TEXT, st.dictionaries(TEXT, TEXT, max_size=3)),
    )
    def test_the_digest_is_equal_where_the_key_is(self, one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
        a, b = (EngineKey(*parts[:5], tuple(parts[5].items())) for parts in (one, other))
        assert (a.digest == b.digest) == (a == b)

    @pytest.mark.parametrize("name", ["model_sha256", "precision", "engine", "device", "compute_capability"])
    def test_every_part_counts(self, name: str) -> None:
        assert replace(KEY, **{name: "other"}).digest != KEY.digest


class TestFinding:
    def test_none_where_none_was_built(self, bundle: Bundle) -> None:
        assert find_engine(bundle, KEY) is None
        assert load_engine(bundle, KEY) is None

    def test_stored_is_found_and_vouched_for(self, bundle: Bundle, engine: Path) -> None:
        assert find_engine(bundle, KEY) == engine == bundle.folder / "engines" / KEY.digest
        assert load_engine(bundle, KEY) == ENGINE
        manifest = json.loads((engine / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["kind"] == "engine"
        assert manifest["key"]["device"] == "Orin"
        assert manifest["build_seconds"] == 12.5
        told = describe_engine(bundle, KEY, reused=True, reason="it fits")
        assert told == BuiltEngine(engine, "int8", True, "it fits", 12.5, len(ENGINE))

    def test_the_bundle_itself_stays_valid(self, bundle: Bundle, engine: Path) -> None:
        assert engine.is_dir()
        assert open_bundle(bundle.folder).digest == bundle.digest

    def test_another_key_finds_nothing(self, bundle: Bundle, engine: Path) -> None:
        assert engine.is_dir()
        assert find_engine(bundle, replace(KEY, engine="tensorrt 10.7.0")) is None

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, len(ENGINE) - 1), st.integers(1, 255))
    def test_one_changed_byte_is_noticed(
        self, tmp_path_factory: pytest.TempPathFactory, at: int, difference: int
    ) -> None:
        bundle = self.fresh(tmp_path_factory)
        path = store_engine(bundle, KEY, ENGINE, build_seconds=1) / "engine.bin"
        data = bytearray(ENGINE)
        data[at] ^= difference
        path.write_bytes(data)
        for look in (find_engine, load_engine):
            with pytest.raises(ArtifactError, match=r"engine\.bin was changed") as caught:
                look(bundle, KEY)  # type: ignore[operator]
            assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"

    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def test_a_truncated_engine_or_manifest_is_noticed(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        bundle = self.fresh(tmp_path_factory)
        folder = store_engine(bundle, KEY, ENGINE, build_seconds=1)
        path = folder / data.draw(st.sampled_from(["engine.bin", "manifest.json"]))
        content = path.read_bytes().rstrip()
        path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(ArtifactError) as caught:
            find_engine(bundle, KEY)
        assert "--rebuild" in caught.value.hint

    @pytest.mark.parametrize("gone", ["engine.bin", "manifest.json"])
    def test_a_missing_file_is_named(self, bundle: Bundle, engine: Path, gone: str) -> None:
        (engine / gone).unlink()
        with pytest.raises(ArtifactError, match=gone.replace(".", r"\.")):
            find_engine(bundle, KEY)

    def test_an_engine_of_another_machine_under_our_name_is_foreign(self, bundle: Bundle) -> None:
        other = replace(KEY, device="NVIDIA A10", compute_capability="8.6")
        store_engine(bundle, other, ENGINE, build_seconds=1).rename(bundle.folder / "engines" / KEY.digest)
        with pytest.raises(ArtifactError, match="foreign engine") as caught:
            load_engine(bundle, KEY)
        assert "the GPU was NVIDIA A10 (8.6) and is Orin (8.7)" in caught.value.message
        assert caught.value.hint == f"edgexfer build {bundle.folder} --rebuild"
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [{}, {"key": []}, {"key": {"device": 3}}, {"key": KEY.to_json()}])
    def test_a_manifest_that_says_too_little_vouches_for_nothing(
        self, bundle: Bundle, content: dict[str, object]
    ) -> None:
        folder = bundle.folder / "engines" / KEY.digest
        folder.mkdir(parents=True)
        (folder / "engine.bin").write_bytes(ENGINE)
        write_manifest(folder, "engine", content)
        with pytest.raises(ArtifactError, match="lacks keys"):
            find_engine(bundle, KEY)

    def test_an_engine_that_the_manifest_does_not_list(self, bundle: Bundle) -> None:
        folder = bundle.folder / "engines" / KEY.digest
        folder.mkdir(parents=True)
        write_manifest(folder, "engine", {"key": KEY.to_json(), "build_seconds": 1})
        (folder / "engine.bin").write_bytes(ENGINE)
        with pytest.raises(ArtifactError):
            load_engine(bundle, KEY)

    def fresh(self, factory: pytest.TempPathFactory) -> Bundle:
        from tests.bundles import make_bundle

        return open_bundle(make_bundle(factory.mktemp("b") / "b.edgx"))


class TestWhy:
    def test_nothing_was_built(self, bundle: Bundle) -> None:
        assert why_rebuilt(bundle, KEY) == "no engine was built yet"

    def test_engines_of_another_precision_say_nothing(self, bundle: Bundle, engine: Path) -> None:
        assert engine.is_dir()
        assert why_rebuilt(bundle, replace(KEY, precision="float16")) == "no engine was built yet"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"engine": "tensorrt 10.7.0"}, "TensorRT was 10.3.0 and is 10.7.0"),
            ({"model_sha256": "b" * 64}, "the model changed"),
            ({"device": "Thor", "compute_capability": "11.0"}, "the GPU was Orin (8.7) and is Thor (11.0)"),
            (
                {"options": (("batch", "1 to 4"), ("new", "1"), ("workspace_mib", "1024"))},
                "options changed: batch was 1 to 8 and is 1 to 4, new was unset and is 1",
            ),
        ],
    )
    def test_what_differs_is_said(self, bundle: Bundle, engine: Path, changes: dict[str, object], reason: str) -> None:
        assert engine.is_dir()
        assert why_rebuilt(bundle, replace(KEY, **changes)) == reason  # type: ignore[arg-type]

    def test_the_most_similar_engine_explains(self, bundle: Bundle, engine: Path) -> None:
        far = replace(KEY, engine="tensorrt 8.6.1", device="Xavier", model_sha256="c" * 64)
        shutil.copytree(engine, bundle.folder / "engines" / far.digest)
        (bundle.folder / "engines" / far.digest / "manifest.json").write_text(json.dumps({"key": far.to_json()}))
        assert why_rebuilt(bundle, replace(KEY, engine="tensorrt 10.7.0")) == "TensorRT was 10.3.0 and is 10.7.0"

    def test_a_damaged_manifest_has_nothing_to_say(self, bundle: Bundle, engine: Path) -> None:
        (engine / "manifest.json").write_bytes(b"{")
        assert why_rebuilt(bundle, KEY) == "no engine was built yet"


class TestStoring:
    def test_a_stale_engine_of_the_same_precision_goes_and_others_stay(self, bundle: Bundle, engine: Path) -> None:
        other = replace(KEY, precision="float16")
        store_engine(bundle, other, b"16", build_seconds=1)
        newer = replace(KEY, engine="tensorrt 10.7.0")
        store_engine(bundle, newer, b"new", build_seconds=1)
        assert not engine.exists()
        assert files_of(bundle) == sorted([other.digest, newer.digest])

    def test_leftovers_go_and_what_is_not_ours_stays(self, bundle: Bundle, engine: Path) -> None:
        engines = engine.parent
        (engines / ".x.12345678.tmp").mkdir()
        (engines / ".x.12345678.tmp" / "engine.bin").write_bytes(b"half")
        (engines / ".chosen.json.1234.tmp").write_bytes(b"half")
        (engines / f".{KEY.digest}.1234.old").mkdir()
        (engines / "notes.txt").write_text("mine", encoding="utf-8")
        (engines / ("0" * 64)).mkdir()  # an engine without a manifest is none
        tidy_engines(bundle, KEY)
        assert files_of(bundle) == sorted([KEY.digest, "notes.txt"])

    def test_who_is_second_takes_what_is_there(self, bundle: Bundle, engine: Path) -> None:
        assert store_engine(bundle, KEY, b"another", build_seconds=9) == engine
        assert load_engine(bundle, KEY) == ENGINE

    def test_replace_replaces(self, bundle: Bundle, engine: Path) -> None:
        (engine / "engine.bin").write_bytes(b"spoilt")
        store_engine(bundle, KEY, b"another", build_seconds=9, replace=True)
        assert load_engine(bundle, KEY) == b"another"
        assert files_of(bundle) == [KEY.digest]

    def test_a_spoilt_engine_is_replaced_by_whoever_built_one(self, bundle: Bundle, engine: Path) -> None:
        (engine / "engine.bin").write_bytes(b"spoilt")
        store_engine(bundle, KEY, b"another", build_seconds=9)
        assert load_engine(bundle, KEY) == b"another"

    def test_ctrl_c_in_the_middle_leaves_all_as_it_was(
        self, bundle: Bundle, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("edgexfer.core.engine_store.sync_tree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store_engine(bundle, replace(KEY, engine="tensorrt 10.7.0"), b"new", build_seconds=1)
        assert files_of(bundle) == [engine.name]

    def test_a_file_where_the_folder_should_be(self, bundle: Bundle) -> None:
        (bundle.folder / "engines").write_text("no folder", encoding="utf-8")
        for write in (
            lambda: check_writable(bundle),
            lambda: store_engine(bundle, KEY, ENGINE, build_seconds=1),
            lambda: write_choice(bundle, EngineChoice("float32", "ort", "e", "d", ("e",)), reason=""),
        ):
            with pytest.raises(EdgexferError, match="cannot write") as caught:
                write()  # type: ignore[no-untyped-call]
            assert caught.value.hint

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_may_not_be_written(self, bundle: Bundle) -> None:
        bundle.folder.chmod(0o555)
        try:
            with pytest.raises(EdgexferError, match="Permission denied"):
                check_writable(bundle)
        finally:
            bundle.folder.chmod(0o755)

    def test_a_read_only_file_system_is_told(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
        import errno

        def refused(self: Path, *_: object, **__: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system", str(self))

        monkeypatch.setattr(Path, "mkdir", refused)
        with pytest.raises(EdgexferError, match="Read-only file system") as caught:
            check_writable(bundle)
        assert "another place" in caught.value.hint

    def test_check_writable_leaves_nothing(self, bundle: Bundle) -> None:
        check_writable(bundle)
        assert files_of(bundle) == []

    @pytest.mark.parametrize("locks", [True, False], ids=["locks", "a file system without locks"])
    def test_many_at_once(self, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, locks: bool) -> None:
        if not locks:
            monkeypatch.setattr("edgexfer.core.files.lock_folder", lambda *_, **__: None)
        problems: list[BaseException] = []

        def build(number: int) -> None:
            try:
                for _ in range(10):
                    store_engine(bundle, KEY, f"engine {number}".encode() * 50, build_seconds=number)
                    found = load_engine(bundle, KEY)
                    assert found is not None
                    assert found.startswith(b"engine ")
            except BaseException as error:  # noqa: BLE001 - reported below
                problems.append(error)

        threads = [threading.Thread(target=build, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert problems == []
        assert files_of(bundle) == [KEY.digest]

    def test_readers_never_see_a_replacement_half_done(self, bundle: Bundle, engine: Path) -> None:
        assert engine.is_dir()
        stop = threading.Event()

        def rebuild() -> None:
            for number in range(40):
                store_engine(bundle, KEY, str(number).encode() * 5000, build_seconds=number, replace=True)
            stop.set()

        thread = threading.Thread(target=rebuild)
        thread.start()
        seen = set()
        while not stop.is_set():
            found = load_engine(bundle, KEY)
            assert found is not None
            seen.add(found[:2])
        thread.join()
        assert seen

    def test_killed_at_any_moment_the_next_build_ends_well_and_nothing_is_left(self, bundle: Bundle) -> None:
        code = (
            "import sys\n"
            "from tests.core.test_engines import ENGINE, KEY\n"
            "from edgexfer.core.bundle import open_bundle\n"
            "from edgexfer.core.engine_store import store_engine\n"
            "bundle = open_bundle(sys.argv[1])\n"
            "print('ready', flush=True)\n"
            "while True: store_engine(bundle, KEY, ENGINE * 20, build_seconds=1, replace=True)\n"
        )
        moments = random.Random(3)
        for _ in range(5):
            process = subprocess.Popen([sys.executable, "-c", code, bundle.folder], stdout=subprocess.PIPE)
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            try:
                assert load_engine(bundle, KEY) in (None, ENGINE, ENGINE * 20)
            except ArtifactError as error:
                pytest.fail(f"half an engine was left: {error}")
            store_engine(bundle, KEY, ENGINE, build_seconds=1, replace=True)
            assert files_of(bundle) == [KEY.digest]


class TestTimingCache:
    def test_there_and_back_on_the_same_machine_alone(self, bundle: Bundle, engine: Path) -> None:
        assert engine.is_dir()
        assert read_timing_cache(bundle, KEY) is None
        write_timing_cache(bundle, KEY, b"tac\ntics")
        assert read_timing_cache(bundle, replace(KEY, precision="float16", model_sha256="f" * 64)) == b"tac\ntics"
        for changed in ({"engine": "tensorrt 10.7.0"}, {"device": "Thor"}, {"compute_capability": "11.0"}):
            assert read_timing_cache(bundle, replace(KEY, **changed)) is None  # type: ignore[arg-type]

    @given(st.binary(max_size=100), st.data())
    @settings(max_examples=25, deadline=None)
    def test_never_trusted_where_a_byte_differs(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
    ) -> None:
        bundle = TestFinding().fresh(tmp_path_factory)
        store_engine(bundle, KEY, ENGINE, build_seconds=1)
        write_timing_cache(bundle, KEY, content)
        (path,) = (bundle.folder / "engines").glob("timing-*.cache")
        raw = bytearray(path.read_bytes())
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
        assert read_timing_cache(bundle, KEY) is None

    def test_that_of_another_machine_goes_with_the_next_engine(self, bundle: Bundle, engine: Path) -> None:
        write_timing_cache(bundle, replace(KEY, engine="tensorrt 8.6.1"), b"old")
        write_timing_cache(bundle, KEY, b"new")
        tidy_engines(bundle, KEY)
        assert len(files_of(bundle)) == 2
        assert read_timing_cache(bundle, KEY) == b"new"
        assert engine.is_dir()
