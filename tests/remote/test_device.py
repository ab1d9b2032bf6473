"""A device over SSH: what goes there, what runs there, what comes back; against a real sshd."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from edgexfer.core.errors import ArtifactError, DataError, RemoteError
from edgexfer.core.files import sha256_of_file
from edgexfer.core.manifest import read_manifest, write_manifest
from edgexfer.remote.device import Device
from tests.bundles import make_bundle
from tests.remote.sshd import Server

Rows = list[tuple[Path, str, str]]

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install 'edgexfer[cpu]')")


def rewrite_manifest(bundle: Path) -> None:
    """Makes the bundle sound again after a file in it was changed."""
    content = json.loads((bundle / "manifest.json").read_bytes())
    ours = ("kind", "format_version", "files", "digest")
    write_manifest(bundle, "bundle", {key: value for key, value in content.items() if key not in ours})


def test_a_bundle_is_judged_there_and_the_record_comes_back(server: Server, bundle_folder: Path, rows: Rows) -> None:
    heard: list[tuple[str, str]] = []
    with server.device() as device:
        device.install(extras=("cpu",))
        bundle, images = device.send_bundle(bundle_folder), device.send_images(rows)
        done = device.run(
            ["evaluate", bundle, images, "--json", "record.json"],
            results=("record.json", "never-written.json"),
            on_line=lambda stream, text: heard.append((stream, text)),
        )
    assert done.returncode == 0
    assert list(done.files) == ["record.json"]
    record = json.loads(done.files["record.json"])
    assert record["summary"]["top1"] == 1.0
    assert {image["path"] for image in record["images"]} == {name for _, name, _ in rows}
    assert done.stdout_tail == "\n".join(text for stream, text in heard if stream == "out")
    assert "top-1" in done.stdout_tail
    assert 0 < done.seconds < 60
    assert device.facts.home == str(server.on)
    assert bundle.endswith("/tiny.edgx")


def test_a_second_run_sends_what_changed_and_no_more(server: Server, bundle_folder: Path, rows: Rows) -> None:
    news: list[str] = []

    def visit() -> str:
        news.clear()
        with server.device(on_news=news.append) as device:
            device.install(extras=("cpu",))
            device.send_images(rows)
            return device.send_bundle(bundle_folder)

    first = visit()
    assert [line.split(" to ")[0] for line in news[1:]] == ["sending edgexfer", "sending data", "sending tiny.edgx"]
    assert visit() == first
    assert [line for line in news if "sending" in line] == []
    (bundle_folder / "model.onnx").write_bytes(b"another network")
    rewrite_manifest(bundle_folder)
    second = visit()
    assert [line.split(": ")[1] for line in news if "sending" in line] == ["2 of 4 files, 0.0 MB"]
    assert second != first
    assert Path(second, "model.onnx").read_bytes() == b"another network"
    assert read_manifest(Path(first), "bundle")["name"] == "tiny"  # the older one is whole, and stays for a while


def test_what_was_spoilt_there_is_mended(server: Server, bundle_folder: Path, rows: Rows) -> None:
    with server.device() as device:
        bundle, images = Path(device.send_bundle(bundle_folder)), Path(device.send_images(rows))
    (bundle / "model.onnx").write_bytes(b"rotten")  # and with it the store's file: they are one
    (bundle / "split.csv").unlink()
    replaced = images.parent / "a" / "0.png"
    replaced.unlink()
    replaced.write_bytes(b"something else")
    with server.device() as device:
        assert device.send_bundle(bundle_folder) == str(bundle)
        assert device.send_images(rows) == str(images)
    assert read_manifest(bundle, "bundle") == read_manifest(bundle_folder, "bundle")
    assert sha256_of_file(replaced) == sha256_of_file(rows[0][0])


def test_engines_stay_with_the_bundle_and_follow_its_model(server: Server, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "tiny.edgx")
    model = read_manifest(bundle, "bundle")["files"]["model.onnx"]["sha256"]
    with server.device() as device:
        there = Path(device.send_bundle(bundle))
    for name, built_from in (("fits", model), ("foreign", "0" * 64)):
        (there / "engines" / name).mkdir(parents=True)
        (there / "engines" / name / "engine.bin").write_bytes(name.encode())
        key = {"key": {"model_sha256": built_from}}
        (there / "engines" / name / "manifest.json").write_text(json.dumps(key), encoding="utf-8")
    (there / "engines" / "timing-0123456789abcdef.cache").write_bytes(b"timing")
    with server.device() as device:
        assert device.send_bundle(bundle) == str(there)
        assert (there / "engines" / "foreign" / "engine.bin").is_file()
        (bundle / "measurements.json").write_text("{}", encoding="utf-8")
        rewrite_manifest(bundle)
        again = Path(device.send_bundle(bundle))
    assert again != there
    engines = {path.relative_to(again / "engines").as_posix() for path in (again / "engines").rglob("*.*")}
    assert engines == {"fits/engine.bin", "fits/manifest.json", "timing-0123456789abcdef.cache"}
    assert read_manifest(again, "bundle") == read_manifest(bundle, "bundle")


def test_a_verbs_error_is_the_devices_own_words_and_leaves_it_usable(server: Server) -> None:
    with server.device() as device:
        device.install(extras=("cpu",))
        with pytest.raises(RemoteError, match=r"^device: bundle nowhere does not exist") as caught:
            device.run(["bench", "nowhere"])
        assert caught.value.hint.startswith("a bundle is made by `edgexfer export")
        assert device.run(["targets"]).returncode == 0


def test_what_cannot_be_sent_is_refused_here(server: Server, bundle_folder: Path, tmp_path: Path) -> None:
    (bundle_folder / "model.onnx").write_bytes(b"tampered")
    with server.device() as device:
        with pytest.raises(ArtifactError, match="was changed after it was written"):
            device.send_bundle(bundle_folder)
        with pytest.raises(DataError, match=r"cannot read .*gone\.png: No such file"):
            device.send_images([(tmp_path / "gone.png", "a/gone.png", "a")])
        with pytest.raises(DataError, match="no images"):
            device.send_images([])


def test_a_file_that_changes_while_it_is_sent_is_not_kept(server: Server, rows: Rows) -> None:
    news: list[str] = []

    def change(sentence: str) -> None:
        news.append(sentence)
        if sentence.startswith("sending") and len(news) == 2:  # after it was hashed, before it is read
            rows[0][0].write_bytes(rows[1][0].read_bytes() + b"more")

    with server.device(on_news=change) as device:
        with pytest.raises(RemoteError, match=r"^device: a file changed while it was being sent"):
            device.send_images(rows)
        images = Path(device.send_images(rows))
    assert sha256_of_file(images.parent / rows[0][1]) == sha256_of_file(rows[0][0])
    for path in (server.on / "files").iterdir():
        assert sha256_of_file(path) == path.name


def test_names_of_images_cannot_lead_out_of_their_folder(server: Server, rows: Rows) -> None:
    path = rows[0][0]
    strange = ["../../escape.png", "/absolute.png", "images.csv", "a/./b.png", "two\nlines.png", 'a/"q", ü.png']
    with server.device() as device:
        listed = Path(device.send_images([(path, name, "a") for name in strange]))
    sha256 = sha256_of_file(path)
    lines = listed.read_text(encoding="utf-8").splitlines()
    assert lines == ["path,label", *[f"by-content/{sha256}.png,a"] * 5, '"a/""q"", ü.png",a']
    inside = {p.relative_to(listed.parent).as_posix() for p in listed.parent.rglob("*") if p.is_file()}
    assert inside == {"images.csv", f"by-content/{sha256}.png", 'a/"q", ü.png'}


def test_the_folder_there_is_the_users_alone(server: Server) -> None:
    with server.device() as device:
        assert device.facts.python.count(".") == 2
    assert stat.S_IMODE(server.on.stat().st_mode) == 0o700


def test_a_shell_that_talks_does_not_disturb(server: Server) -> None:
    for name in (".bashrc", ".profile", ".zshenv", ".bash_profile"):
        (server.home / name).write_text(
            "echo 'welcome, edgexfer-agent is what'; printf 'no newline'\n", encoding="utf-8"
        )
    # A file of the user's that would shadow the standard library, were their home on the path.
    (server.home / "json.py").write_text("raise SystemExit('shadowed')\n", encoding="utf-8")
    with server.device() as device:
        assert device.facts.pid > 0


def test_what_was_not_used_of_late_is_removed(server: Server, bundle_folder: Path) -> None:
    with server.device() as device:
        used = Path(device.send_bundle(bundle_folder)).parent
    for number in range(10):
        copy = Path(shutil.copytree(used, used.with_name(f"copy-{number}"), copy_function=os.link))
        os.utime(copy, (1e9 + number, 1e9 + number))
    os.utime(used, (1e9 + 0.5, 1e9 + 0.5))
    files = set((server.on / "files").iterdir())
    lost = server.on / "files" / ("0" * 64)
    lost.write_bytes(b"sent by a run that never went on")
    with server.device() as device:
        device.send_bundle(bundle_folder)
    # 8 that nobody uses, and the one that was in use when they were counted, old as it was.
    assert {path.name for path in used.parent.iterdir()} == {used.name, *(f"copy-{n}" for n in range(2, 10))}
    assert lost.exists()
    os.utime(lost, (1e9, 1e9))
    with server.device():
        pass
    assert set((server.on / "files").iterdir()) == files


def test_a_device_that_is_not_connected_says_so() -> None:
    with pytest.raises(AssertionError, match="use `with`"):
        _ = Device("device").facts
