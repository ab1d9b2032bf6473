"""A classifier belongs to its process: what a fork, a spawned worker and pickle make of it."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgexfer import load
from edgexfer.core.errors import BackendError

FORKED = """
import os, sys
import numpy as np
from edgexfer import EdgexferError, load

image = np.full((8, 8, 3), (220, 30, 30), np.uint8)
with load(sys.argv[1], threads=2, backend=sys.argv[2]) as classifier:
    expected = classifier(image).label
    child = os.fork()
    if child == 0:
        for use in (classifier, lambda _: classifier.swap(sys.argv[1]), lambda _: next(classifier.stream([image]))):
            try:
                use(image)
            except EdgexferError as error:
                print("fork of it" in error.message, "call load() in the child" in error.hint)
        classifier.close()
        with load(sys.argv[1], threads=1, backend=sys.argv[2]) as own:
            print(own(image).label == expected, flush=True)
        sys.exit(0)
    _, status = os.waitpid(child, 0)
    print(status, classifier(image).label == expected)
"""
SPAWNED = """
import multiprocessing, sys
import numpy as np
from edgexfer import EdgexferError, load

def work(folder):
    with load(folder) as classifier:
        return classifier(np.full((8, 8, 3), (30, 220, 30), np.uint8)).label

if __name__ == "__main__":
    with load(sys.argv[1]) as classifier:
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            print(pool.map(work, [sys.argv[1]] * 2))
            try:
                pool.apply(classifier, (1,))
            except EdgexferError as error:
                print(error.hint)
"""


def output_of(script: Path, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(script), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("backend", ["ort", "fake"])
def test_a_fork_is_refused_and_may_load_its_own(bundle_folder: Path, tmp_path: Path, backend: str) -> None:
    if backend == "ort":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    (tmp_path / "forked.py").write_text(FORKED, encoding="utf-8")
    assert output_of(tmp_path / "forked.py", bundle_folder, backend) == "True True\n" * 3 + "True\n0 True\n"


def test_spawned_workers_load_their_own(bundle_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")
    (tmp_path / "spawned.py").write_text(SPAWNED, encoding="utf-8")
    told = "give the other process the bundle's path, and call load() there"
    assert output_of(tmp_path / "spawned.py", bundle_folder) == f"['b', 'b']\n{told}\n"


def test_pickle_and_copy_are_refused(bundle_folder: Path) -> None:
    with load(bundle_folder, backend="fake") as classifier:
        for use in (pickle.dumps, copy.copy, copy.deepcopy, multiprocessing.reduction.ForkingPickler.dumps):
            with pytest.raises(BackendError, match="cannot be pickled or copied"):
                use(classifier)
        assert classifier(np.full((8, 8, 3), (220, 30, 30), np.uint8)).label == "a"
