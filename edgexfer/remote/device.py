"""A device that is reached over SSH: edgexfer, bundles and images go there, verbs run there, records come back.

with Device("me@orin") as device:
    device.install(extras=("cpu",))
    bundle = device.send_bundle(Path("signs.edgx"))
    done = device.run(["bench", bundle, "--json", "latency.json"], results=("latency.json",))
    json.loads(done.files["latency.json"])
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgexfer.core.errors import RemoteError
from edgexfer.remote.bootstrap import BOOTSTRAP, agent_source
from edgexfer.remote.link import Link
from edgexfer.remote.parcel import IMAGE_LIST, Content, Parcel, bundle_parcel, image_parcel, of_bytes
from edgexfer.remote.said import check_ended
from edgexfer.remote.ssh import CONNECT_S, check_host, explain, ssh_command
from edgexfer.remote.wheel import make_wheel, requirements
from edgexfer.remote.wire import PART_BYTES, Frame

SILENCE_S = 30.0
OLDEST = (3, 10)
_TAIL_LINES = 200
_START_S = 60.0
_BEAT_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What the device says of itself.

    Attributes:
        python: version of its interpreter.
        executable: path of it.
        machine: such as "aarch64".
        system: the operating system in one line.
        board: what the device tree names the board; "" where there is none.
        l4t: first line of /etc/nv_tegra_release; "" where it is no Jetson.
        free_bytes: on the disk where files are put.
        home: the agent's folder.
        run: the name of this connection's own folder in `home`/runs.
        pid: process id of the agent.
    """

    python: str
    executable: str
    machine: str
    system: str
    board: str
    l4t: str
    free_bytes: int
    home: str
    run: str
    pid: int


@dataclass(frozen=True)
class RunResult:
    """How a verb ended on the device.

    Attributes:
        returncode: 0 done or passed, 1 a gate failed, 3 inconclusive.
        stdout_tail: its last lines.
        stderr_tail: its last lines.
        seconds: how long it took there.
        files: name -> content of the results that it wrote.
    """

    returncode: int
    stdout_tail: str
    stderr_tail: str
    seconds: float
    files: dict[str, bytes] = field(repr=False)


class Device:
    """A connection to one device; a context manager. Used by one thread; `abort` may come from any.

    After an error of the connection it is of no further use; an error of a verb leaves it open.

    Args:
        host: "user@host", an alias of ~/.ssh/config, or "ssh://user@host:port".
        python: the interpreter there, by name or path; of a venv that sees JetPack's packages, for instance.
        ssh_config: for `ssh -F`; by default what EDGEXFER_SSH_CONFIG names, else the user's own.
        on_news: called with a sentence when something that takes time begins.
        silence_s: after how many seconds without a sign of this side the device gives up and cleans up.
    """

    def __init__(
        self,
        host: str,
        *,
        python: str = "python3",
        ssh_config: Path | None = None,
        on_news: Callable[[str], None] = log.info,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.host = check_host(host)
        self._command = ssh_command(host, python, BOOTSTRAP, ssh_config)
        self._python = python
        self._news = on_news
        self._silence_s = silence_s
        self._link: Link | None = None
        self._facts: Facts | None = None
        self._aborted = False

    @property
    def facts(self) -> Facts:
        """What the device said of itself when the connection was made."""
        assert self._facts is not None, "the device is not connected: use `with`"  # noqa: S101
        return self._facts

    def __enter__(self) -> Device:  # noqa: PYI034 - Self is not in Python 3.10
        try:
            self._link = Link(self._command)
            if self._aborted:
                self._link.abort()
            self._news(f"connecting to {self.host}")
            self._check_python(self._first().header["version"])
            self._link.write(agent_source(self._silence_s))
            hello = self._receive()
            self._link.keep_alive(min(_BEAT_S, self._silence_s / 4))
            self._facts = Facts(**{key: value for key, value in hello.header.items() if key != "is"})
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._link is not None:
                self._ask({"do": "trim"})
        finally:
            self.close()

    def close(self) -> None:
        """Ends the connection; what runs on the device is killed, what was unfinished is removed there."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def abort(self) -> None:
        """Breaks the connection off, so that the thread which waits for the device gets a RemoteError."""
        self._aborted = True
        link = self._link
        if link is not None:
            link.abort()

    def install(self, extras: Iterable[str] = (), needs: Iterable[str] = ()) -> None:
        """Makes this very edgexfer ready on the device, and the packages that the device's Python lacks for it.

        Args:
            extras: of edgexfer, whose requirements are wanted there too, such as "cpu".
            needs: further requirements, such as "cuda-bindings>=12.6".

        Raises:
            RemoteError: a package is missing and pip is, or fails; no space.
        """
        wheel = of_bytes(make_wheel())
        request = {"do": "python", "sha256": wheel.sha256, "requirements": [*requirements(extras), *needs]}
        answer = self._ask(request)
        if answer["missing"]:
            self._send({wheel.sha256: wheel}, "edgexfer")
            answer = self._ask(request)

    def send_bundle(self, folder: Path) -> str:
        """Sends what the device lacks of a bundle, and puts it together there; engines built there stay with it.

        Returns:
            The bundle's path on the device.

        Raises:
            ArtifactError: it is no bundle, or is damaged.
            RemoteError: no space.
        """
        return self._deliver(bundle_parcel(folder))

    def send_images(self, rows: Sequence[tuple[Path, str, str]]) -> str:
        """Sends what the device lacks of these images.

        Args:
            rows: for each image the file here, its name there (its path in the data set), and its label.

        Returns:
            The path there of a CSV with path,label: a data set for `edgexfer evaluate`.

        Raises:
            DataError: an image cannot be read.
            RemoteError: no space.
        """
        return f"{self._deliver(image_parcel(rows))}/{IMAGE_LIST}"

    def run(
        self,
        argv: Sequence[str],
        *,
        results: Sequence[str] = (),
        on_line: Callable[[str, str], None] | None = None,
    ) -> RunResult:
        """Runs a verb of edgexfer on the device, in an empty folder.

        Args:
            argv: the verb and its arguments, such as ["bench", bundle, "--json", "latency.json"].
            results: names of files that it writes into that folder and that are wanted back.
            on_line: called with "out" or "err" and each line, as they come.

        Raises:
            RemoteError: it ended with a user's error (exit code 2), said as the device said it; or was killed there.
            RuntimeError: it ended with a traceback: a bug of ours, shown as it is.
        """
        tails: dict[str, list[str]] = {"out": [], "err": []}
        files: dict[str, bytes] = {}
        wanted: dict[str, Any] = {}
        self._request({"do": "run", "argv": list(argv), "results": list(results)})
        while (frame := self._receive()).header["is"] != "done":
            if frame.header["is"] == "line":
                text = frame.payload.decode("utf-8", "replace")
                tail = tails[frame.header["stream"]]
                tail.append(text)
                del tail[:-_TAIL_LINES]
                if on_line is not None:
                    on_line(frame.header["stream"], text)
            elif frame.header["is"] == "result":
                wanted = frame.header
                files[wanted["name"]] = b""
            else:
                files[wanted["name"]] += frame.payload
            if frame.header["is"] != "line" and len(files[wanted["name"]]) == wanted["bytes"]:
                _check(files[wanted["name"]], wanted["sha256"])
        out, err = ("\n".join(tails[stream]) for stream in ("out", "err"))
        result = RunResult(int(frame.header["code"]), out, err, float(frame.header["seconds"]), files)
        check_ended(self.host, argv, result.returncode, err)
        return result

    def _deliver(self, parcel: Parcel) -> str:
        self._send({content.sha256: content for content in parcel.files.values()}, parcel.name)
        files = {name: content.sha256 for name, content in parcel.files.items()}
        answer = self._ask({"do": parcel.kind, "name": parcel.name}, _json(files))
        return str(answer["path"])

    def _send(self, contents: dict[str, Content], title: str) -> None:
        sizes = {sha256: content.size_bytes for sha256, content in contents.items()}
        missing = self._ask({"do": "have"}, _json(sizes))["missing"]
        if not missing:
            return
        megabytes = sum(sizes[sha256] for sha256 in missing) / 1e6
        count = f"{len(missing)} of {len(contents)} files" if len(contents) > 1 else "1 file"
        self._news(f"sending {title} to {self.host}: {count}, {megabytes:.1f} MB")
        for sha256 in missing:
            self._request({"do": "file", "sha256": sha256, "bytes": sizes[sha256]})
            for part in _parts(contents[sha256].source):
                self._request({"do": "part"}, part)
        self._ask({"do": "stored"})

    def _ask(self, header: dict[str, Any], payload: bytes = b"") -> dict[str, Any]:
        self._request(header, payload)
        while (frame := self._receive()).header["is"] != "done":
            log.info("%s: %s", self.host, frame.payload.decode("utf-8", "replace"))
        return frame.header

    def _request(self, header: dict[str, Any], payload: bytes = b"") -> None:
        # An answer that comes before the request is complete says that it failed (no space left).
        assert self._link is not None, "the device is not connected: use `with`"  # noqa: S101
        if self._link.waiting():
            self._receive()
        if not self._link.send(header, payload):
            self._receive()

    def _receive(self) -> Frame:
        assert self._link is not None, "the device is not connected: use `with`"  # noqa: S101
        frame = self._link.receive()
        if frame is None:
            raise self._lost()
        if frame.header["is"] == "news":
            self._news(f"{self.host}: {frame.payload.decode('utf-8', 'replace')}")
            return self._receive()
        if frame.header["is"] == "error":
            raise RemoteError(f"{self.host}: {frame.header['message']}", frame.header["hint"])
        if frame.header["is"] == "bug":
            raise RuntimeError(f"the agent on {self.host} failed:\n{frame.payload.decode('utf-8', 'replace')}")
        return frame

    def _first(self) -> Frame:
        assert self._link is not None  # noqa: S101
        try:
            frame = self._link.receive(CONNECT_S + _START_S)
        except queue.Empty:
            raise RemoteError(
                f"{self.host} let us in but starts no Python within {_START_S:.0f} s",
                "does a start-up file of the shell there wait for something?",
            ) from None
        if frame is None:
            raise self._lost()
        return frame

    def _lost(self) -> Exception:
        assert self._link is not None  # noqa: S101
        if self._aborted:
            return RemoteError(f"the connection to {self.host} was broken off")
        link, self._link = self._link, None
        code = link.close()
        if link.fault:
            return RemoteError(f"{self.host}: {link.fault}", "does a start-up file of the shell there print that?")
        return explain(self.host, self._python, link.said, code)

    def _check_python(self, version: str) -> None:
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise RemoteError(
                f"{self.host} has Python {version} as {self._python}, edgexfer needs {OLDEST[0]}.{OLDEST[1]} or later",
                "name another one there; on JetPack 5 (Python 3.8) build the engine with trtexec: docs/jetson.md",
            )


def _json(value: Any) -> bytes:
    return json.dumps(value).encode("ascii")


def _parts(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[i : i + PART_BYTES] for i in range(0, len(source), PART_BYTES))
        return
    with source.open("rb") as file:
        while part := file.read(PART_BYTES):
            yield part


def _check(data: bytes, sha256: str) -> None:
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RuntimeError("a result file was changed on its way")
