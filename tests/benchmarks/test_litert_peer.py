"""LiteRT's files answer as the network does that they were made of: what the benchmark times is the same network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.train.pictures import picture_tree

pytestmark = [pytest.mark.train, pytest.mark.slow]
pytest.importorskip("litert_torch", reason="needs litert-torch, which is in none of the extras")


@pytest.mark.filterwarnings("ignore")  # the converter's own, of jax and of what it deprecates
def test_litert_answers_as_the_network_does(benchmark_module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from edgexfer.train.finetune import finetune
    from edgexfer.train.settings import FinetuneSettings

    peers, litert = benchmark_module("parts.cpu_peers"), benchmark_module("parts.litert_peer")
    settings = FinetuneSettings(strategy="linear-probe", input_size=64, device="cpu")
    checkpoint = finetune(picture_tree(tmp_path / "images", (20, 20), noise=40.0), tmp_path / "run", settings)
    network = checkpoint.float_network()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    planes = peers.planes_of(network, pixels)
    wanted = network.network(peers.torch.from_numpy(planes)).softmax(1).detach().numpy()

    plain = litert.write_litert(network, 64, tmp_path / "float.tflite")
    static = litert.quantize_for_litert(plain, planes, tmp_path / "static.tflite")
    for file, near in (plain, 1e-4), (static, 0.1):
        images, run = litert.images_for_litert(file, planes), litert.open_litert(file, 1)
        answers = np.concatenate([run(image[None]).copy() for image in images]).astype(np.float32)
        scale, zero_point = Interpreter(str(file)).get_output_details()[0]["quantization"]
        answers = (answers - zero_point) * scale if scale else answers
        np.testing.assert_allclose(answers, wanted, atol=near)
