"""`edgexfer finetune`: what would be passed over without a word is refused, and nothing is loaded for that."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.cli.runs import make_run, tried
from tests.cli.terminal import files_below


def test_flags_that_nobody_would_look_at_are_refused_at_once(data: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "run")  # efficientnet-lite0 at 64 pixels, cover
    with tarfile.open(tmp_path / "train-000.tar", "w") as tar:
        tar.add(data / "a" / "0.png", "a/0.png")
    from_run = ["data", "--from", "run"]
    update, adapt = [*from_run, "--strategy", "update"], [*from_run, "--strategy", "adapt", "--unlabeled", "data"]
    expected = [
        (["data", "--unlabeled", "data"], "strategy 'auto' looks at no images without classes", "--strategy adapt or"),
        ([*update, "--unlabeled", "data"], "strategy 'update' looks at no images", "or leave --unlabeled away"),
        (["data", "--target-val", "data"], "strategy 'auto' adapts to no other domain", "leave --target-val away"),
        ([*from_run, "--backbone", "resnet18"], "backbone is resnet18, but", "where it is efficientnet-lite0"),
        ([*from_run, "--backbone", "auto"], "backbone is auto, but", "leave --backbone away"),
        ([*from_run, "--weights", "none"], "weights is none, but", "leave --weights away"),
        ([*from_run, "--input-size", "96"], "input_size is 96, but", "leave --input-size away"),
        ([*from_run, "--resize", "stretch"], "resize is stretch, but", "where it is cover"),
        (["data", "--target", "x86-cpu"], "--target is x86-cpu, and backbone is efficientnet-lite0", "--backbone auto"),
        (["train-000.tar", "--backbone", "auto"], "train-000.tar are shards", "give --backbone NAME"),
        ([*update, "--find-learning-rate"], "strategy 'update' from a checkpoint does not", "--find-learning-rate"),
        ([*update, "--time-budget", "60"], "time_budget_s is 60.0, and strategy 'update'", "leave --time-budget away"),
        ([*adapt, "--epochs", "3"], "epochs is 3, and strategy 'adapt'", "leave --epochs away"),
        ([*adapt, "--steps", "3"], "steps is 3, and strategy 'adapt'", "leave --steps away"),
        (["data", "--strategy", "gradul"], "unknown strategy 'gradul'", "did you mean 'gradual'"),
    ]
    before = files_below(tmp_path)
    out, err = tried("finetune", [words for words, *_ in expected], tmp_path)
    assert out == f"{[2] * len(expected)} False\n", err
    told = err.split("error: ")[1:]
    for (words, message, hint), text in zip(expected, told, strict=True):
        assert message in text, words
        assert hint in text, words
    assert files_below(tmp_path) == before


def test_what_a_file_says_is_refused_as_a_flag_is(data: Path, tmp_path: Path) -> None:
    assert data.is_dir()
    make_run(tmp_path / "run")
    (tmp_path / "mine.toml").write_text('strategy = "adapt"\npatience = 4\n', encoding="utf-8")
    words = ["data", "--from", "run", "--unlabeled", "data", "--config", "mine.toml"]
    out, err = tried("finetune", [words], tmp_path)
    assert out == "[2] False\n"
    assert "patience is 4, and strategy 'adapt' from a checkpoint does not go by it" in err
    assert "leave patience away" in err
