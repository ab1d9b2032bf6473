"""Every feed gives the rows of the cache, whichever way they come; what it prefetches is what was announced."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from edgexfer.core.preprocess import Preprocess
from edgexfer.train.images.feed import CopyFeed, ResidentFeed, StagedFeed, open_feed
from edgexfer.train.images.pixel_cache import PixelCache
from tests.train.pictures import cache_of, stripes

pytestmark = pytest.mark.train

CPU = torch.device("cpu")
PICTURES = [stripes(number % 4, number, side=16) for number in range(12)]
IDS = np.arange(12) % 4
FEEDS = [CopyFeed, ResidentFeed, StagedFeed]


@pytest.mark.parametrize("kind", FEEDS)
@pytest.mark.parametrize("announced", [True, False])
def test_batches_are_the_rows_of_the_cache(kind: type, announced: bool) -> None:
    cache = cache_of(PICTURES)
    cache.select(np.arange(11, -1, -1))
    batches = [np.array([3, 0, 11, 3]), np.array([5]), np.array([1, 2])]
    feed = kind(cache, IDS, CPU)
    for number, rows in enumerate(batches):
        then = batches[number + 1] if announced and number < 2 else np.array([], dtype=np.int64)
        pixels, ids = feed.batch(rows, then)
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(
            pixels.permute(0, 2, 3, 1).numpy(), np.stack([PICTURES[11 - row] for row in rows])
        )
        np.testing.assert_array_equal(ids.numpy(), IDS[rows])
    feed.close()
    feed.close()


def test_a_batch_that_was_not_announced_is_gathered_all_the_same() -> None:
    feed = StagedFeed(cache_of(PICTURES), IDS, CPU)
    feed.batch(np.array([0]), then=np.array([1, 2]))
    pixels, ids = feed.batch(np.array([7]))
    np.testing.assert_array_equal(pixels[0].permute(1, 2, 0).numpy(), PICTURES[7])
    assert ids.tolist() == [IDS[7]]
    feed.close()


def test_the_next_batch_is_gathered_while_this_one_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    cache, gathered = cache_of(PICTURES), threading.Event()
    read = PixelCache.__getitem__

    def noticed(self: PixelCache, rows: np.ndarray) -> np.ndarray:
        found = read(self, rows)
        if threading.current_thread() is not threading.main_thread():
            gathered.set()
        return found

    monkeypatch.setattr(PixelCache, "__getitem__", noticed)
    feed = StagedFeed(cache, IDS, CPU)
    feed.batch(np.array([0, 1]), then=np.array([2, 3]))
    assert gathered.wait(10)  # nobody has asked for it yet
    monkeypatch.undo()
    pixels, _ = feed.batch(np.array([2, 3]))
    np.testing.assert_array_equal(pixels[1].permute(1, 2, 0).numpy(), PICTURES[3])
    feed.close()


def test_all_pixels_live_on_the_device_while_they_fit() -> None:
    cache = cache_of(PICTURES)
    assert isinstance(open_feed(cache, IDS, CPU), CopyFeed)
    assert isinstance(open_feed(cache, IDS, CPU, resident_bytes=12 * 16 * 16 * 3), ResidentFeed)
    small = open_feed(cache, IDS, CPU, resident_bytes=12 * 16 * 16 * 3 - 1)
    assert isinstance(small, StagedFeed)
    small.close()
    cache.select(np.arange(6))  # the half that is left
    assert isinstance(open_feed(cache, IDS[:6], CPU, resident_bytes=6 * 16 * 16 * 3), ResidentFeed)


def test_resident_pixels_need_the_cache_no_more() -> None:
    cache = cache_of(PICTURES)
    feed = ResidentFeed(cache, IDS, CPU)
    cache.close()
    pixels, _ = feed.batch(np.array([4]))
    np.testing.assert_array_equal(pixels[0].permute(1, 2, 0).numpy(), PICTURES[4])
    feed.close()
    with pytest.raises(ValueError, match="closed"):
        feed.batch(np.array([4]))


def test_another_process_maps_the_file_of_a_cache(tmp_path: Path) -> None:
    sources = [PICTURES[0], PICTURES[1], PICTURES[2]]
    with PixelCache(3, Preprocess(16, 16), budget_bytes=0, folder=tmp_path) as cache:
        cache.put(0, np.stack(sources[:2]))
        cache.select(np.array([1, 0]))
        handle = cache.handle()
        assert handle is not None
        with PixelCache.mapped(handle) as mapped:
            assert len(mapped) == 2
            np.testing.assert_array_equal(mapped[[0, 1]], np.stack([PICTURES[1], PICTURES[0]]))
            with pytest.raises(ValueError, match="read-only"):
                mapped.put(0, np.stack(sources[:1]))
        np.testing.assert_array_equal(cache[[0]], PICTURES[1][None])
    with pytest.raises(OSError, match=r"No such file|another file"):
        PixelCache.mapped(handle)
    assert cache_of(PICTURES).handle() is None
