"""Reference: what a candidate is compared with. The old bundle where it is at hand, else what was stored of it.

Two bundles on one machine are measured in turns, which says far more than a stored figure; so a baseline's file sends
for its bundle first: the folder of the file, and that of the candidate, are searched for `*.edgx` with its digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgexfer.core.bundle import Bundle, open_bundle
from edgexfer.core.errors import ArtifactError, SettingsError
from edgexfer.core.manifest import MANIFEST
from edgexfer.gate.judge.baseline import Baseline, all_baselines, find_baseline, read_baseline, what_is_there

FOLDER = "baselines"
"""Where baselines lie unless something else is said: beside the project's own files, in git."""


@dataclass(frozen=True)
class Reference:
    """What there is to compare with.

    Attributes:
        bundle: the old bundle itself; None where it is not at hand.
        stored: what was accepted of it; None where only a bundle was given, or nothing.
        words: what it is, for people; "" for nothing.
        missing: why there is nothing, and what mends it; "" where there is something.
    """

    bundle: Bundle | None = None
    stored: Baseline | None = None
    words: str = ""
    missing: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 that names the bundle; "" for nothing."""
        if self.bundle is not None:
            return self.bundle.digest
        return "" if self.stored is None else self.stored.subject.digest


def find_reference(baseline: str | Path | None, candidate: Bundle, machine_class: str) -> Reference:
    """Finds what `--baseline` names.

    Args:
        baseline: a bundle, a baseline's file, or a folder of such files; None for `baselines/` where that is here.
        candidate: the bundle to be judged.
        machine_class: of this machine.

    Raises:
        SettingsError: there is nothing at that path.
        ArtifactError: the file or bundle there is damaged, or of a later version.
    """
    accept = "accept what is shipped today, on this machine: `edgexfer baseline accept OLD.edgx`"
    if baseline is None and not Path(FOLDER).is_dir():
        return Reference(missing=f"there is no baseline: {accept}; or give the older bundle with --baseline")
    path = Path(FOLDER if baseline is None else baseline)
    if not path.exists():
        raise SettingsError(f"{path} does not exist, expected a bundle, a baseline's file or a folder of them", accept)
    if (path / MANIFEST).is_file():
        bundle = open_bundle(path)
        return Reference(bundle, None, f"the bundle {path}")
    if path.is_dir() and any(path.iterdir()) and not any(path.glob("*/*.json")):
        raise SettingsError(f"{path} holds no baselines, expected a bundle, a baseline's file or a folder", accept)
    found, missing = (path, "") if path.is_file() else _in_folder(path, candidate, machine_class)
    if found is None:
        return Reference(missing=f"{missing}: {accept}")
    stored = read_baseline(found)
    if reason := _misfit(stored, candidate):
        return Reference(missing=f"{found} {reason}: {accept}")
    bundle_there = _at_hand(stored.subject.digest, (found.parent, path.parent, path, candidate.folder.parent))
    accepted = f"{found} ({stored.subject.bundle}), accepted {stored.accepted.at[:10]} by {stored.accepted.by}"
    if bundle_there is not None:
        return Reference(bundle_there, stored, f"{accepted}; its bundle is here: {bundle_there.folder}")
    return Reference(None, stored, accepted)


def _in_folder(folder: Path, candidate: Bundle, machine_class: str) -> tuple[Path | None, str]:
    # That of the same name; else the one that fits, since a new run has a new name and is still the same product.
    name, target = name_of(candidate), candidate.target.name
    named = find_baseline(folder, name, target, machine_class)
    if named is not None:
        return named, ""
    fitting = [
        path
        for path, stored in all_baselines(folder)
        if stored.machine_class == machine_class and not _misfit(stored, candidate)
    ]
    if len(fitting) == 1:
        return fitting[0], ""
    if fitting:
        several = " and ".join(str(path) for path in fitting)
        return None, f"{several} all fit {name}: name one with --baseline FILE; or"
    return None, what_is_there(folder, name, target, machine_class)


def _misfit(stored: Baseline, candidate: Bundle) -> str:
    if stored.subject.target != candidate.target.name:
        return f"is a baseline for {stored.subject.target}, the candidate is for {candidate.target.name}"
    if stored.labels != candidate.labels:
        return f"is the baseline of {stored.subject.bundle}, which knows other classes than {name_of(candidate)}"
    return ""


def name_of(bundle: Bundle) -> str:
    """Returns the bundle's name, by which its baselines are found."""
    return str(bundle.manifest.get("name", bundle.folder.name))


def _at_hand(digest: str, folders: tuple[Path, ...]) -> Bundle | None:
    for folder in dict.fromkeys(one for one in folders if one.is_dir()):
        for place in sorted(folder.glob("*.edgx")):
            try:
                bundle = open_bundle(place)
            except ArtifactError:
                continue  # somebody else's damaged bundle is not what was asked for
            if bundle.digest == digest:
                return bundle
    return None
