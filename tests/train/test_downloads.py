"""Where weights cannot be downloaded, the file's name and the ways around it are said, whatever the library raises."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import timm
import torchvision

from edgexfer.core.errors import MissingPartError
from edgexfer.train.backbones import BACKBONES
from edgexfer.train.network import build_network
from edgexfer.train.weights import load_pretrained

pytestmark = pytest.mark.train


def offline_errors() -> list[Exception]:
    found: list[Exception] = [URLError("no route to host"), OSError("timed out"), RuntimeError("invalid hash value")]
    for module, name in (
        ("huggingface_hub.errors", "LocalEntryNotFoundError"),
        ("huggingface_hub.errors", "OfflineModeIsEnabled"),
        ("requests.exceptions", "ProxyError"),
        ("httpx", "ConnectError"),
        ("httpx2", "ProxyError"),
        ("http.client", "IncompleteRead"),
    ):
        if importlib.util.find_spec(module.partition(".")[0]) is not None:
            kind = getattr(importlib.import_module(module), name)
            found.append(kind(b"half") if name == "IncompleteRead" else kind("no network here"))
    return found


@pytest.mark.parametrize("error", offline_errors(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", ["mobilenetv2-050", "mobilenetv2-torchvision"])
def test_an_impossible_download_names_the_file_and_the_way_around(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    row = BACKBONES[name]
    module = build_network(row, 3)
    monkeypatch.setattr(timm, "create_model", fail)
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fail)
    with pytest.raises(MissingPartError, match=f"cannot download the weights of '{name}'") as caught:
        load_pretrained(module, row)
    file = row.weights_from.split()[1]
    assert file in caught.value.hint
    assert "--weights FILE" in caught.value.hint
    assert "--backbone efficientnet-lite0" in caught.value.hint
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("name", ["mobilenetv2-050", "mobilenetv2-torchvision"])
def test_without_a_network_the_libraries_own_downloads_end_in_one_error(name: str, tmp_path: Path) -> None:
    # A proxy that refuses every connection stands for a machine without a network, wherever this runs.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {key: value for key, value in os.environ.items() if key.lower() not in ("no_proxy", "all_proxy")}
    environment |= {**nowhere, "HF_HOME": str(tmp_path), "TORCH_HOME": str(tmp_path)}
    code = (
        "import time; time.sleep = lambda _: None  # hubs try again and again\n"
        "from edgexfer.train.backbones import BACKBONES\n"
        "from edgexfer.train.network import build_network\n"
        "from edgexfer.train.weights import load_pretrained, MissingPartError\n"
        f"row = BACKBONES['{name}']\n"
        "try: load_pretrained(build_network(row, 3), row)\n"
        "except MissingPartError as error: print(error.message, '|', error.hint)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=120)
    assert done.stdout.startswith(f"cannot download the weights of '{name}'"), done.stderr
    assert "--weights FILE" in done.stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [("mobilenetv2-050", "check your connection"), ("mobilenetv2-torchvision", "timed out|said nothing")],
)
def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from torchvision.models.mobilenetv2 import MobileNet_V2_Weights

    for key in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("edgexfer.train.weights.SILENCE_S", 0.3)
    monkeypatch.setattr("time.sleep", lambda _: None)  # hubs try again and again
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        for key in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
            monkeypatch.setattr(constants, key, 0.3)
        monkeypatch.setattr(MobileNet_V2_Weights.DEFAULT.value, "url", f"{address}/weights.pth")
        row = BACKBONES[name]
        with pytest.raises(MissingPartError) as caught:
            load_pretrained(build_network(row, 3), row)
    assert f"cannot download the weights of '{name}' ({row.weights_from})" in caught.value.message
    assert re.search(said, caught.value.message)
    assert socket.getdefaulttimeout() is None
