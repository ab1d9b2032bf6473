"""The plugin's hooks and its one fixture. Every run of pytest imports this: it loads pytest and the standard library.

    pytest --edgexfer-target raspberry-pi-5

    def test_not_slower(edgexfer_gate):
        edgexfer_gate("signs.edgx").latency_p95_ms.regressed_at_most("5%")

A limit that does not hold fails the test; one of which nothing can be said fails it too, unless --edgexfer-inconclusive
says otherwise. Whoever never asks for the fixture never sees any of this; `-p no:edgexfer` takes it out altogether.

What was judged travels on the reports, as JSON: so it reaches the controller of pytest-xdist from every worker,
whatever bytes the name of a file is made of.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from edgexfer.pytest_plugin.options import Options, add_options, read_options

if TYPE_CHECKING:
    from edgexfer.pytest_plugin.gate import EdgexferGate
    from edgexfer.pytest_plugin.judging import Judging

_OPTIONS = pytest.StashKey[Options]()
_ENTRIES = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares --edgexfer-target and its like."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Refuses what cannot be meant before any test runs."""
    config.stash[_OPTIONS] = read_options(config)
    config.stash[_ENTRIES] = []
    config.pluginmanager.register(_Gathering(config), "edgexfer-gathering")


class _Gathering:
    """Takes from the reports what was judged: of this process, or of every worker of pytest-xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._config.stash[_ENTRIES].extend(map(json.loads, getattr(report, "edgexfer", ())))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Makes the gates one group of pytest-xdist: with `--dist loadgroup` one worker measures, and shares samples."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if "edgexfer_gate" in getattr(item, "fixturenames", ()) and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group("edgexfer"))


@pytest.fixture(scope="session")
def _edgexfer_judging(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Judging:
    from edgexfer.pytest_plugin.judging import Judging  # noqa: PLC0415 - only where somebody asks for it

    # The workers of pytest-xdist have their temporary folders beside each other.
    return Judging(pytestconfig.stash[_OPTIONS], tmp_path_factory.getbasetemp().parent)


@pytest.fixture
def edgexfer_gate(request: pytest.FixtureRequest, _edgexfer_judging: Judging) -> EdgexferGate:
    """Opens a bundle whose figures can be held to limits: `edgexfer_gate("signs.edgx").top1.at_least(0.95)`."""
    from edgexfer.pytest_plugin.gate import EdgexferGate  # noqa: PLC0415 - only where somebody asks for it

    return EdgexferGate(request.node, _edgexfer_judging, request.node.stash.setdefault(_ENTRIES, []))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Puts on the report what was judged since the last one, and what kept a gate from judging."""
    report = yield
    entries = item.stash.get(_ENTRIES, [])
    if _ENTRIES in item.stash and (text := _mistake(call, entries)):
        entries.append({"test": item.nodeid, "error": text})
    if entries:
        report.edgexfer = [json.dumps(entry) for entry in entries]  # type: ignore[attr-defined]
        entries.clear()
    return report


def _mistake(call: pytest.CallInfo[None], entries: list[dict[str, Any]]) -> str:
    # A test that failed without a verdict that says so, such as at a baseline that is damaged, must not look passed.
    raised = None if call.excinfo is None else call.excinfo.value
    if raised is None or isinstance(raised, (pytest.skip.Exception, pytest.xfail.Exception)):
        return ""
    if any("gate" in entry and entry["gate"]["summary"]["outcome"] != "pass" for entry in entries):
        return ""
    return str(raised).removeprefix("error: ") or type(raised).__name__


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Writes the file that was asked for; and a run that skipped every gate for another target is no success."""
    config = session.config
    if hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    entries, place = config.stash[_ENTRIES], config.stash[_OPTIONS].json_file
    if entries and all("skipped" in entry for entry in entries) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if place is not None:
        from edgexfer.core.errors import EdgexferError  # noqa: PLC0415 - only where somebody asks for it
        from edgexfer.pytest_plugin.summary import write_gates  # noqa: PLC0415

        try:
            write_gates(entries, place)
        except EdgexferError as error:
            config.stash[_ENTRIES].append({"test": "", "error": str(error)})
            session.exitstatus = pytest.ExitCode.USAGE_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the section "edgexfer": one line for each verdict; nothing where nothing was judged."""
    entries = config.stash[_ENTRIES]
    if not entries:
        return
    from edgexfer.pytest_plugin.summary import section  # noqa: PLC0415 - only where somebody asks for it

    terminalreporter.section("edgexfer")
    for line, colour in section(entries):
        terminalreporter.write_line(line, **({colour: True} if colour else {}))
