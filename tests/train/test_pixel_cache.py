"""The cache gives the pixels that `core.preprocess` gives, from memory and from disk, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core import intake as intake_module
from edgexfer.core import preprocess as preprocess_module
from edgexfer.core.dataset import read_dataset
from edgexfer.core.decode import decode
from edgexfer.core.errors import EdgexferError, ImageError
from edgexfer.core.intake import inspect
from edgexfer.core.preprocess import Preprocess, pixels
from edgexfer.train.images import pixel_cache as cache_module
from edgexfer.train.images.pixel_cache import MAX_BUDGET_BYTES, PixelCache, memory_budget
from tests.images import good_tree, jpeg, put

SMALL = Preprocess(20, 12)


@pytest.fixture
def sources() -> list[bytes]:
    return [jpeg(seed, size) for seed, size in enumerate([(24, 16), (12, 20), (300, 200), (7, 9), (64, 64)])]


@pytest.mark.parametrize("budget_bytes", [None, 0])
def test_memory_and_disk_hold_the_same_pixels(tmp_path: Path, sources: list[bytes], budget_bytes: int | None) -> None:
    expected = np.stack([pixels(source, SMALL) for source in sources])
    steps: list[int] = []
    with PixelCache(len(sources), SMALL, budget_bytes=budget_bytes, folder=tmp_path) as cache:
        cache.fill(sources, workers=3, progress=lambda done, _: steps.append(done))
        assert cache.in_memory == (budget_bytes is None)
        assert cache.size_bytes == expected.nbytes
        batch = cache[np.array([4, 0, 0, 2])]
        assert batch.dtype == np.uint8
        np.testing.assert_array_equal(batch, expected[[4, 0, 0, 2]])
        batch[:] = 0  # a copy: augmentation may write into it
        np.testing.assert_array_equal(cache[range(5)], expected)
    assert steps == [1, 2, 3, 4, 5]
    assert list(tmp_path.iterdir()) == []


def test_checking_images_fills_the_cache_without_decoding_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = good_tree(tmp_path / "data")
    put(root / "cats" / "1a.jpg", b"broken")
    put(root / "cats" / "wide.jpg", jpeg(99, (400, 200), orientation=6))
    dataset = read_dataset(root)
    calls: Counter[str] = Counter()

    def counting(*args: object, **options: object) -> object:
        calls["decode"] += 1
        return decode(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(intake_module, "decode", counting)
    monkeypatch.setattr(preprocess_module, "decode", counting)
    with PixelCache(len(dataset.samples), SMALL, budget_bytes=0, folder=tmp_path) as cache:
        found = inspect(dataset, at_least=(SMALL.height, SMALL.width), on_image=cache.keep)
        rows = [item.index for item in found.samples]
        for _epoch in range(3):
            batch = cache[rows]
        assert calls["decode"] == len(dataset.samples)
        expected = [pixels(item.sample.path, SMALL) for item in found.samples]
        np.testing.assert_array_equal(batch, np.stack(expected))
        with pytest.raises(IndexError, match="row 2 of the pixel cache was never written"):
            cache[range(len(dataset.samples))]


def test_a_disk_that_is_full_says_so_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache_module.os, "posix_fallocate", full)
    with pytest.raises(EdgexferError, match=r"no room for 68 MiB of decoded images") as caught:
        PixelCache(100_000, SMALL, budget_bytes=0, folder=tmp_path)
    assert "TMPDIR" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_really_too_small_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="no room for"):
        PixelCache(1024, Preprocess(1 << 20, 1 << 20), budget_bytes=0, folder=tmp_path)


def test_a_folder_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(EdgexferError, match="cannot write decoded images"):
        PixelCache(5, SMALL, budget_bytes=0, folder=tmp_path / "missing")


def test_nothing_is_left_even_after_a_kill(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.pixel_cache import PixelCache
cache = PixelCache(1000, Preprocess(20, 12), budget_bytes=0, folder=Path({str(tmp_path)!r}))
assert not cache.in_memory
print("open", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stdout == "open\n", ended.stderr
    assert ended.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_decoded_ends_the_filling(sources: list[bytes]) -> None:
    with PixelCache(6, SMALL) as cache, pytest.raises(ImageError, match="not an image"):
        cache.fill([*sources, b"text"])


def test_misuse_is_an_error_and_close_may_be_called_twice(sources: list[bytes]) -> None:
    cache = PixelCache(5, SMALL)
    assert len(cache) == 5
    with pytest.raises(ValueError, match="1 sources for 5 rows"):
        cache.fill(sources[:1])
    cache.fill(sources)
    cache.close()
    cache.close()
    with pytest.raises(ValueError, match="closed"):
        cache[[0]]


def test_the_budget_is_at_most_2_gib_and_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory_budget() <= MAX_BUDGET_BYTES == 2 << 30
    monkeypatch.setattr(cache_module, "_lines", lambda path: ["MemAvailable: 4096 kB"] if "meminfo" in path else [])
    assert memory_budget() == 1 << 20
    monkeypatch.setattr(cache_module, "_lines", lambda _path: ["MemAvailable: 999999999 kB", "max"])
    assert memory_budget() == MAX_BUDGET_BYTES
    monkeypatch.setattr(cache_module, "_lines", lambda path: ["8192"] if "cgroup" in path else [])
    assert memory_budget() == 2048
