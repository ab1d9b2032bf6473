"""Shards are listed, and windows go through all of their training images."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgexfer.core.errors import DataError
from edgexfer.core.preprocess import Preprocess
from edgexfer.train.checkpoint import open_checkpoint
from edgexfer.train.finetune import finetune
from edgexfer.train.images.pixel_cache import PixelCache
from edgexfer.train.settings import FinetuneSettings
from edgexfer.train.streaming.shards import blocks_of, find_shards, read_images
from edgexfer.train.streaming.stream import open_stream
from edgexfer.train.streaming.windows import Windows
from tests.train.pictures import png, stripes
from tests.train.tars import shards, tar_of

pytestmark = pytest.mark.train


def test_a_pattern_a_file_or_a_folder_means_shards(tmp_path: Path) -> None:
    pattern = shards(tmp_path / "set", 3)
    assert [path.name for path in find_shards(pattern)] == ["part-00.tar", "part-01.tar", "part-02.tar"]
    assert find_shards(tmp_path / "set") == find_shards(str(pattern))
    assert len(find_shards(tmp_path / "set" / "part-01.tar")) == 1
    (tmp_path / "set" / "cats").mkdir()
    assert find_shards(tmp_path / "set") == ()  # a folder of class folders that has a tar beside them
    assert find_shards(tmp_path / "none.csv") == ()
    with pytest.raises(DataError, match=r"part-03.tar does not exist") as caught:
        find_shards(tmp_path / "set" / "part-{00..04}.tar")
    assert "2 of 5 shards" in caught.value.hint


def test_classes_stand_beside_images_in_json_or_in_folders(tmp_path: Path) -> None:
    image = png(stripes(0, 0, side=16))
    tar = tar_of(
        tmp_path / "a.tar",
        {
            "x/1.jpg": image,
            "x/1.cls": b"cat\n",
            "2.seg.png": image,  # WebDataset: another part of sample 2, not its image
            "2.png": image + b"2",
            "2.json": json.dumps({"label": 7}).encode(),
            "dogs/3.jpeg": image,
            "4.pyd": b"cos\nsystem\n(S'touch /tmp/never'\ntR.",  # a pickle: not looked at
        },
    )
    [block] = blocks_of(tar)
    assert {image.key: image.label for image in block} == {"x/1": "cat", "2": "7", "dogs/3": "dogs"}
    read = read_images(tar, 0, [image for image in block if image.key == "2"])
    assert read == [image + b"2"]
    with pytest.raises(DataError, match="5 has no class") as caught:
        blocks_of(tar_of(tmp_path / "b.tar", {"5.jpg": image}))
    assert "5.cls" in caught.value.hint
    (tmp_path / "c.tar").write_bytes(b"no tar")
    with pytest.raises(DataError, match=r"c.tar cannot be read as a tar"):
        blocks_of(tmp_path / "c.tar")


def test_parquet_files_of_hugging_face_datasets_are_read_by_row_group(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    pictures = [png(stripes(number % 2, number, side=16)) for number in range(5)]
    features = {"label": {"names": ["plain", "striped"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    table = pa.table(
        {"image": [{"bytes": data, "path": None} for data in pictures], "label": [number % 2 for number in range(5)]}
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = tmp_path / "train-0.parquet"
    parquet.write_table(table, path, row_group_size=3)
    blocks = blocks_of(path)
    assert [[image.label for image in block] for block in blocks] == [
        ["plain", "striped", "plain"],
        ["striped", "plain"],
    ]
    assert read_images(path, 1, blocks[1]) == pictures[3:]
    for number, words in ((-1, "leave rows without a class out"), (2, "written with other names")):
        strange = tmp_path / f"strange{number}.parquet"
        columns = {"image": [b"1", b"2"], "label": [0, number]}
        parquet.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), strange)
        with pytest.raises(DataError, match=rf"parquet has a row with {number} in 'label', expected 0 to 1") as caught:
            blocks_of(strange)
        assert strange.name in caught.value.message
        assert words in caught.value.hint
    parquet.write_table(pa.table({"pixels": [b"1"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match="has the columns pixels"):
        blocks_of(tmp_path / "other.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match=r"broken.parquet is no Parquet file"):
        blocks_of(tmp_path / "broken.parquet")


def test_windows_go_through_all_training_images_and_none_that_is_held_out(tmp_path: Path) -> None:
    stream = open_stream(shards(tmp_path), window=7, seed=3)
    whole = stream.count("train")
    assert 30 <= whole <= 54
    assert stream.count("val")
    assert stream.count("test")
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(stream.windows_for(1)):
        drawn = stream.drawn(number)
        assert sum(len(positions) for _, positions in drawn) == 7
        for block, positions in drawn:
            assert {block.splits[position] for position in positions} == {"train"}
            seen.update((block.shard.name, block.images[position].key) for position in positions)
    assert len(seen) == whole  # each of them once, and the last window begins anew
    assert max(seen.values()) <= 2
    again = open_stream(tmp_path / "part-{00..03}.tar", window=7, seed=3)
    assert [b.splits for b in again.blocks] == [b.splits for b in stream.blocks]
    assert again.drawn(5) == stream.drawn(5)


def test_a_window_takes_the_rows_of_the_one_before(tmp_path: Path) -> None:
    stream = open_stream(shards(tmp_path), window=6, seed=0)
    rows, ids = np.array([1, 2, 3, 5, 6, 7]), np.full(8, -5)
    with PixelCache(8, Preprocess(16, 16)) as cache:
        cache.put(0, np.zeros((8, 16, 16, 3), dtype=np.uint8))
        windows = Windows(stream, ("0", "striped"), rows)
        windows.renew(0, 3, cache, ids)
        assert not cache[range(8)].any()  # the sample is there already
        windows.renew(1, 3, cache, ids)
        drawn = [(b, p) for b, positions in stream.drawn(1) for p in positions]
        for row, (block, position) in zip(rows, drawn, strict=True):
            kind, shard = int(block.labels[position] == "striped"), int(block.shard.stem[-2:])
            number = int(block.images[position].key)
            np.testing.assert_array_equal(cache[[row]][0], stripes(kind, 1000 * shard + number, side=16, noise=5.0))
            assert ids[row] == kind
        assert not cache[[0, 4]].any()
        assert ids[[0, 4]].tolist() == [-5, -5]
        windows.close()
        other = PixelCache(8, Preprocess(16, 16))
        other.put(0, np.zeros((8, 16, 16, 3), dtype=np.uint8))
        resumed, there = Windows(stream, ("0", "striped"), rows), np.full(8, -5)
        resumed.renew(1, 3, other, there)  # a resumed run begins with it
        np.testing.assert_array_equal(other[rows], cache[rows])
        resumed.close()


def test_only_damaged_images_of_a_window_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows, ids = np.arange(9), np.full(9, -5)  # a sample has more rows than a window where it has images of rare classes
    for name, damaged in (("whole", 0), ("damaged", 2)):
        pictures = [png(stripes(0, number, side=16)) for number in range(60)]
        images = {
            f"a/{number:02}.png": data[: 20 if number % 6 < damaged else None] for number, data in enumerate(pictures)
        }
        stream = open_stream(tar_of(tmp_path / name / "part-0.tar", images), window=6, seed=0)
        caplog.clear()
        with PixelCache(9, Preprocess(16, 16)) as cache:
            windows = Windows(stream, ("a",), rows)
            windows.renew(1, 2, cache, ids)
            windows.close()
        keys = [int(block.images[place].key[-2:]) for block, places in stream.drawn(1) for place in places]
        lost = sum(key % 6 < damaged for key in keys)
        assert (lost > 0) == (damaged > 0)
        assert caplog.messages == ([f"{lost} of 6 images of a window cannot be used"] if lost else [])
        assert ids[6:].tolist() == [-5, -5, -5]


@pytest.mark.parametrize(("strategy", "epochs", "least"), [("finetune", 1, 1), ("auto", None, 10)])
def test_training_on_shards_goes_through_all_of_them_once(
    tmp_path: Path, strategy: str, epochs: int | None, least: int
) -> None:
    settings = FinetuneSettings(
        backbone="mobilenetv2-050",
        weights="none",
        strategy=strategy,
        window=10,
        epochs=epochs,
        batch_size=5,
        input_size=32,
        device="cpu",
        mirror=False,
        patience=100,
        near_duplicates="apart",
        temperature_scaling=False,
    )
    pattern = shards(tmp_path / "set", 2, 18)
    made = finetune(pattern, tmp_path / "run", settings)
    windows = len((made.folder / "history.csv").read_text().splitlines()) - 2
    stream = open_stream(pattern, window=10, seed=0)
    assert windows == max(stream.windows_for(1), least) > 1  # so few images want 10 epochs
    manifest = open_checkpoint(tmp_path / "run").manifest
    assert manifest["data"] == str((tmp_path / "run.images" / "images.csv").absolute())
    assert manifest["labels"] == ["0", "striped"]
    assert manifest["metrics"]["val"]["images"] >= 2
