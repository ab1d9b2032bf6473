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
from edgexfer.gate.judge.reference import FOLDER, Reference
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.pytest_plugin.options import Options
from edgexfer.pytest_plugin.summary import accepted_in_words

_NO_BASELINE = (
    "there is no baseline: accept one with --edgexfer-update-baselines --edgexfer-why TEXT, or give an older bundle "
    "with --edgexfer-baseline"
)


class Judging:
    """What this process of pytest has opened and measured so far."""

    def __init__(self, options: Options, turn: Path) -> None:
        self.options = options
        self._turn = turn
        self._bundles: dict[Path, Bundle] = {}
        self._evidence: dict[tuple[Path, Path | None, Path | None], Evidence] = {}
        self._accepted: dict[tuple[Path, Path], tuple[Path | None, str | EdgexferError]] = {}

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
                accepted = self._accepted_once(bundle, baseline, data, _of_answers(chosen))
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
            # Without a baseline the gate would look in the working folder, which need not be the rootdir.
            evidence = Evidence(bundle, baseline=baseline or bundle.folder, data=data)
            if baseline is None:
                evidence.reference = Reference(missing=_NO_BASELINE)
            self._evidence[key] = evidence
        return self._evidence[key]

    def _accepted_once(self, bundle: Bundle, baseline: Path | None, data: Path | None, of_answers: bool) -> str:
        folder = Path(FOLDER) if baseline is None else baseline
        key = (bundle.folder, folder)
        if key not in self._accepted:
            try:
                self._accepted[key] = data, self._accept(bundle, folder, data)
            except EdgexferError as error:
                self._accepted[key] = data, error  # the next test of this bundle shall not measure in vain
        accepted_with, found = self._accepted[key]
        if isinstance(found, EdgexferError):
            raise found
        if of_answers and accepted_with != data:
            raise SettingsError(
                f"the baseline of {bundle.folder.name} was accepted with {_images(accepted_with)}, this test judges "
                f"accuracy on {_images(data)}: a baseline holds the answers to one set of images",
                "give every gate of this bundle the same images, such as with --edgexfer-data",
            )
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


def _of_answers(limits: tuple[Limit, ...]) -> bool:
    return any(limit.kind == "max_regress" and limit.of.of in ("answers", "classes") for limit in limits)


def _images(data: Path | None) -> str:
    return "the answers recorded at export" if data is None else str(data)
