"""By answers: which answers a limit on accuracy is judged by, and what a reader must know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from edgexfer.gate.judge.evidence import Evidence
from edgexfer.gate.judge.image_by_image import flips, judge_answers
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import Flip, Verdict
from edgexfer.gate.measure.evaluation import Evaluation


def by_answers(limit: Limit, seen: Evidence) -> tuple[Verdict, ...]:
    """Judges a limit on a metric of "answers" or "classes" by what was answered, or says what is missing."""
    candidate, missing = seen.answers
    if candidate is None:
        return (Verdict(limit, "inconclusive", missing),)
    if limit.kind in ("max", "min"):
        return judge_answers(limit, candidate, None)
    if limit.kind == "max_regress":
        reference, missing = seen.reference_answers
        return judge_answers(limit, candidate, reference, missing=missing)
    reference, missing = seen.float_answers
    recorded, _ = seen.recorded_answers
    if seen.data is None or reference is None or recorded is None or _mostly_shared(candidate, reference):
        return judge_answers(limit, candidate, reference, missing=missing)
    # The float network is not in the bundle, so on other images than the export's nobody can ask it.
    found = judge_answers(limit, recorded, reference)
    note = f"by the answers recorded at export, since the float network was not asked about {seen.data}"
    return tuple(replace(verdict, reason=f"{verdict.reason} ({note})") for verdict in found)


def flipped(limits: Sequence[Limit], seen: Evidence) -> tuple[Flip, ...]:
    """Returns the images that flipped: against the baseline where it was asked for, else the float network."""
    kinds = {limit.kind for limit in limits if limit.of.of in ("answers", "classes")}
    candidate = seen.answers[0] if kinds else None
    reference = seen.reference_answers[0] if "max_regress" in kinds else None
    if reference is None and "max_drop" in kinds:
        reference = seen.float_answers[0]
    return flips(candidate, reference) if candidate is not None and reference is not None else ()


def data_in_words(seen: Evidence) -> str:
    """Returns what accuracy was judged on."""
    candidate, missing = seen.answers
    if candidate is None:
        return missing
    roles = ", ".join(f"{count} {role}" for role, count in sorted(Counter(i.role for i in candidate.images).items()))
    where = f"{candidate.data}" if seen.data is not None else f"recorded at export, {candidate.data}"
    return f"{len(candidate.images)} images ({roles}; {where})"


def doubts_on_answers(limits: Sequence[Limit], seen: Evidence) -> tuple[str, ...]:
    """Returns what speaks against the answers that the limits were judged by, in sentences."""
    kinds = {limit.kind for limit in limits if limit.of.of in ("answers", "classes")}
    return (*(_on_candidate(seen) if kinds else ()), *(_foreign(seen) if "max_regress" in kinds else ()))


def _on_candidate(seen: Evidence) -> tuple[str, ...]:
    candidate, _ = seen.answers
    if candidate is None:
        return ()
    simulated = f"accuracy was simulated with {candidate.subject.engine}, not measured on {seen.bundle.target.name}"
    return ((simulated,) if candidate.subject.simulated else ()) + candidate.warnings


def _foreign(seen: Evidence) -> tuple[str, ...]:
    # Answers compare across machines, but kernels and simulators round differently: that flips images as well.
    (candidate, _), (reference, _) = seen.answers, seen.reference_answers
    if candidate is None or reference is None:
        return ()
    found = []
    where = reference.host.get("machine_class")
    if where not in (None, seen.machine_class):
        found.append(f"the baseline's answers were given on '{where}', these on '{seen.machine_class}'")
    if reference.subject.simulated != candidate.subject.simulated:
        which = "baseline's" if reference.subject.simulated else "candidate's"
        found.append(f"the {which} answers were given by an engine that simulates the target, the others were not")
    return tuple(found)


def _mostly_shared(candidate: Evaluation, reference: Evaluation) -> bool:
    known = {image.sha256 for image in reference.images}
    return 2 * sum(image.sha256 in known for image in candidate.images) >= len(candidate.images)
