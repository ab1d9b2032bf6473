"""A device that is reached over SSH: edgexfer, bundles and images go there, verbs run there, records come back.

with Device("me@orin") as device:
    device.install(extras=("cpu",))
    bundle = device.send_bundle(Path("signs.edgx"))
    done = device.run(["bench", bundle, "--json", "latency.json"], results=("latency.json",))
    json.loads(done.files["latency.json"])
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from edgexfer.remote.answers import Facts, RunResult, run_verb
from edgexfer.remote.bootstrap import BOOTSTRAP
from edgexfer.remote.conversation import Conversation
from edgexfer.remote.deliver import deliver, upload
from edgexfer.remote.parcel import IMAGE_LIST, bundle_parcel, image_parcel, of_bytes
from edgexfer.remote.ssh import check_host, ssh_command
from edgexfer.remote.wheel import make_wheel, requirements

SILENCE_S = 30.0
_CLOSED = "the device is not connected: use `with`"

log = logging.getLogger(__name__)


class Device:
    """A connection to one device; a context manager. Used by one thread; `abort` may come from any.

    Where a verb or an upload fails it can still be used; where the connection fails it cannot.

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
        self._open: Conversation | None = None
        self._facts: Facts | None = None
        self._aborted = False

    @property
    def facts(self) -> Facts:
        """What the device said of itself when the connection was made."""
        assert self._facts is not None, _CLOSED  # noqa: S101 - a mistake in a program, not of a user
        return self._facts

    def __enter__(self) -> Device:  # noqa: PYI034 - Self is not in Python 3.10
        try:
            self._open = Conversation(self.host, self._python, self._command, self._news)
            if self._aborted:
                self._open.abort()
            self._news(f"connecting to {self.host}")
            self._facts = Facts(**self._open.greet(self._silence_s))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._open is not None:
                self._open.ask({"do": "trim"})
        finally:
            self.close()

    def close(self) -> None:
        """Ends the connection; what runs on the device is killed, what was unfinished is removed there."""
        talk, self._open = self._open, None
        if talk is not None:
            talk.close()

    def abort(self) -> None:
        """Breaks the connection off, so that the thread which waits for the device gets a RemoteError."""
        self._aborted = True
        talk = self._open
        if talk is not None:
            talk.abort()

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
        if self._talk.ask(request)["missing"]:
            upload(self._talk, "edgexfer", {wheel.sha256: wheel})
            self._talk.ask(request)

    def send_bundle(self, folder: Path) -> str:
        """Sends what the device lacks of a bundle, and puts it together there; engines built there stay with it.

        Returns:
            The bundle's path on the device.

        Raises:
            ArtifactError: it is no bundle, or is damaged.
            RemoteError: no space.
        """
        return deliver(self._talk, bundle_parcel(folder))

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
        return f"{deliver(self._talk, image_parcel(rows))}/{IMAGE_LIST}"

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
        return run_verb(self._talk, argv, results, on_line)

    @property
    def _talk(self) -> Conversation:
        assert self._open is not None, _CLOSED  # noqa: S101
        return self._open
