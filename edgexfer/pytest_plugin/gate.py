"""The fixture's value: opens bundles for one test, notes what was judged, and decides what the test becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgexfer.core.bundle import Bundle
from edgexfer.core.errors import SettingsError
from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import GateResult
from edgexfer.pytest_plugin.fluent import Gated
from edgexfer.pytest_plugin.judging import Judging
from edgexfer.pytest_plugin.mistakes import in_flags, told_in_one_line
from edgexfer.pytest_plugin.options import Inconclusive
from edgexfer.pytest_plugin.summary import Entry, explained, in_short, properties


class EdgexferGate:
    """Opens bundles for one test."""

    def __init__(self, node: pytest.Item, judging: Judging, entries: list[Entry]) -> None:
        self._node = node
        self._judging = judging
        self._entries = entries

    def __call__(
        self, bundle: str | Path, *, baseline: str | Path | None = None, data: str | Path | None = None
    ) -> Gated:
        """Opens a bundle; its metrics are attributes of what comes back (edgexfer/pytest_plugin/fluent.py).

        Every path may be relative to the test's own folder or to the rootdir.

        Args:
            bundle: its folder.
            baseline: a file, folder or bundle to compare with; None for what --edgexfer-baseline says.
            data: images that accuracy is judged on; None for what --edgexfer-data says.
        """
        __tracebackhide__ = True
        options = self._judging.options
        with told_in_one_line():
            opened = self._judging.bundle(self._place(bundle))
            compared = options.baseline if baseline is None else self._place(baseline)
            images = options.data if data is None else self._place(data)
        if why := self._judging.other_target(opened):
            self._entries.append({"test": self._node.nodeid, "skipped": why})
            pytest.skip(why)

        def judge(limits: tuple[Limit, ...] | None) -> GateResult:
            __tracebackhide__ = True
            return self._judge(opened, limits, compared, images)

        return Gated(opened, judge, self._node.nodeid)

    def _judge(
        self, bundle: Bundle, limits: tuple[Limit, ...] | None, baseline: Path | None, data: Path | None
    ) -> GateResult:
        __tracebackhide__ = True
        with told_in_one_line():
            result, accepted = self._judging.judge(bundle, limits, baseline, data)
        if accepted:
            self._entries.append({"test": self._node.nodeid, "accepted": accepted})
            if not result.verdicts:
                return result
        self._entries.append({"test": self._node.nodeid, "gate": result.to_json()})
        known = self._node.user_properties
        known += [number for number in properties(result) if number not in known]
        if result.outcome != "pass":
            _stop(result, self._judging.options.inconclusive)
        return result

    def _place(self, path: str | Path) -> Path:
        folders = list(dict.fromkeys((self._node.path.parent, self._node.config.rootpath)))
        found = next((folder / path for folder in folders if (folder / path).exists()), None)
        if found is None:
            looked = " nor in ".join(map(str, folders))
            raise SettingsError(f"'{path}' is not in {looked}", "give a path relative to one of them")
        return found.resolve()


def _stop(result: GateResult, inconclusive: Inconclusive) -> None:
    __tracebackhide__ = True
    if result.outcome == "inconclusive" and inconclusive == "skip":
        pytest.skip(in_flags(in_short(result)))
    if result.outcome == "inconclusive" and inconclusive == "xfail":
        pytest.xfail(
            in_flags(in_short(result))
        )  # nothing happens with --runxfail: then it fails, since it may not pass
    pytest.fail(in_flags(explained(result)))
