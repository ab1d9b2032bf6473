"""Judging for one process of pytest: bundles opened once, samples shared by the tests of a bundle, one at a time.

Latency is measured by one worker of pytest-xdist alone: the others wait at a lock on the folder that their temporary
folders lie in. Accuracy waits there too, since it would load the machine while another measures.
"""

from __future__ import annotations

from pathlib import Path

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import EdgexferError, SettingsError
from edgexfer.core.files import locked_folder
from edgexfer.core.manifest import MANIFEST
from edgexfer.gate.judge.accept import SECONDS as ACCEPT_SECONDS
from edgexfer.gate.judge.accept import propose
from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.judge import SECONDS, judge
from edgexfer.gate.judge.limits import Limit, limits_of
from edgexfer.gate.judge.reference import FOLDER
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.pytest_plugin.options import Options
from edgexfer.pytest_plugin.summary import accepted_in_words


class Judging:
    """What this process of pytest has opened and measured so far."""

    def __init__(self, options: Options, turn: Path) -> None:
        self.options = options
        self._turn = turn
        self._bundles: dict[Path, Bundle] = {}
        self._evidence: dict[tuple[Path, Path | None, Path | None], Evidence] = {}
        self._accepted: dict[tuple[Path, Path], str | EdgexferError] = {}

    def bundle(self, folder: Path) -> Bundle:
        """Opens the bundle at `folder`, once.

        Raises:
            ArtifactError: it is none, or damaged.
        """
        if folder not in self._bundles:
            self._bundles[folder] = open_bundle(folder)
        return self._bundles[folder]

    def other_target(self, bundle: Bundle) -> str:
        """Returns why the bundle is not judged, where it was made for another target than was asked for; else ""."""
        asked = self.options.target
        if asked is None or asked.name == bundle.target.name:
            return ""
        return f"{bundle.folder.name} was made for {bundle.target.name}, not for {asked.name} (--edgexfer-target)"

    def judge(
        self, bundle: Bundle, limits: tuple[Limit, ...] | None, baseline: Path | None, data: Path | None
    ) -> tuple[GateResult, str]:
        """Judges a bundle.

        Args:
            bundle: the candidate.
            limits: what to hold it to; None for the standard ones and those of the target.
            baseline: what to compare it with; None for the gate's own choice.
            data: images of known class; None for the answers recorded at export.

        Returns:
            The verdicts, and what was accepted as the new baseline instead of judging regressions ("" for nothing).

        Raises:
            EdgexferError: what the user can mend.
        """
        chosen = self._standard(bundle) if limits is None else limits
        with locked_folder(self._turn):
            accepted = ""
            if self.options.update and any(limit.kind == "max_regress" for limit in chosen):
                accepted = self._accepted_once(bundle, baseline, data)
                chosen = tuple(limit for limit in chosen if limit.kind != "max_regress")
            evidence = self._shared(bundle, None if self.options.update else baseline, data)
            seconds = SECONDS if self.options.seconds is None else self.options.seconds
            return judge(bundle, limits=chosen, seconds=seconds, evidence=evidence), accepted

    def _standard(self, bundle: Bundle) -> tuple[Limit, ...]:
        target = self.options.target or bundle.target
        return limits_of(target.gates, target=target.name, max_drop=target.max_drop)

    def _shared(self, bundle: Bundle, baseline: Path | None, data: Path | None) -> Evidence:
        key = (bundle.folder, baseline, data)
        if key not in self._evidence:
            self._evidence[key] = Evidence(bundle, baseline=baseline, data=data)
        return self._evidence[key]

    def _accepted_once(self, bundle: Bundle, baseline: Path | None, data: Path | None) -> str:
        folder = Path(FOLDER) if baseline is None else baseline
        key = (bundle.folder, folder)
        if key not in self._accepted:
            try:
                self._accepted[key] = self._accept(bundle, folder, data)
            except EdgexferError as error:
                self._accepted[key] = error  # the next test of this bundle shall not measure in vain
        found = self._accepted[key]
        if isinstance(found, EdgexferError):
            raise found
        return found

    def _accept(self, bundle: Bundle, folder: Path, data: Path | None) -> str:
        if folder.is_file() or (folder / MANIFEST).is_file():
            raise SettingsError(f"{folder} is no folder of baselines, where one could be written")
        seconds = ACCEPT_SECONDS if self.options.seconds is None else self.options.seconds
        proposal = propose(bundle, data=data, why=self.options.why, baselines=folder, seconds=seconds)
        if proposal.doubts:
            raise EdgexferError(
                f"the baseline is not written, since the machine was not fit: {'; '.join(proposal.doubts)}",
                f"try again when it is quiet, or `edgexfer baseline accept {bundle.folder} --force`",
            )
        proposal.write()
        return accepted_in_words(proposal)
