"""Every name of TensorRT that the backend uses exists in every version it serves, or is asked for first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import edgexfer.backends.tensorrt as backend
from tests.backends.tensorrt.extract import API
from tests.backends.tensorrt.names_in_use import MODULE, Use, absent_in, uses_in, uses_of, versions_with

FOLDER = Path(backend.__file__).parent
SOURCES = sorted(FOLDER.glob("*.py"))
USES = [use for path in SOURCES for use in uses_in(path)]


@pytest.mark.parametrize("version", API["versions"])
def test_every_name_in_use_is_there(version: str) -> None:
    missing = [f"{use.kind}.{use.name} in {use.function}" for use in USES if version in absent_in(use)]
    assert missing == []


def test_the_scan_sees_all_there_is() -> None:
    """These are what a build and a run cannot do without: were the scan blind, they would be absent."""
    seen = {(use.kind, use.name) for use in USES}
    assert seen >= {
        (MODULE, "Builder"),
        (MODULE, "OnnxParser"),
        (MODULE, "Runtime"),
        ("Builder", "create_network"),
        ("Builder", "build_serialized_network"),
        ("IBuilderConfig", "set_memory_pool_limit"),
        ("IBuilderConfig", "set_timing_cache"),
        ("IBuilderConfig", "progress_monitor"),
        ("ICudaEngine", "get_tensor_mode"),
        ("INetworkDefinition", "num_inputs"),
        ("IOptimizationProfile", "set_shape"),
        ("ITensor", "shape"),
        ("ITimingCache", "serialize"),
        ("MemoryPoolType", "WORKSPACE"),
        ("OnnxParser", "parse"),
        ("ParserError", "node_name"),
        ("Runtime", "deserialize_cuda_engine"),
        ("ILogger.Severity", "INTERNAL_ERROR"),
        ("TensorIOMode", "INPUT"),
    }


def test_the_execution_context_is_used_by_its_names() -> None:
    # It is kept in a list, beyond what the scan follows.
    text = (FOLDER / "session.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\bcontext\.(\w+)\(", text))
    assert used == {"set_tensor_address", "set_input_shape", "execute_async_v3"}
    for name in used:
        assert versions_with("IExecutionContext", name) == set(API["versions"])


def test_what_is_asked_for_is_somewhere_and_asked_in_one_file() -> None:
    guards = {guard for use in USES for guard in use.guarded}
    assert guards == {
        ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("BuilderFlag", "FP16"),
        ("ParserError", "node_name"),
        (MODULE, "IProgressMonitor"),
    }
    for kind, name in guards:
        assert set() < versions_with(kind, name) < set(API["versions"])
    assert [path.name for path in SOURCES if re.search(r"\b(has|get)attr\(", path.read_text("utf-8"))] == ["api.py"]


def test_flags_named_in_text_exist() -> None:
    assert set(backend.api._FLAGS) == {"float32", "float16", "int8", "int8-depthwise-float16"}
    for flags in backend.api._FLAGS.values():
        for name in flags:
            assert versions_with("BuilderFlag", name) == {v for v in API["versions"] if not v.startswith("11.")}


def test_no_flag_is_written_as_a_number() -> None:
    for path in SOURCES:
        shifts = re.findall(r"1 << (?!int\(getattr\()\S+", path.read_text(encoding="utf-8"))
        assert shifts == [], path


@pytest.mark.parametrize(
    ("source", "absent"),
    [
        ("def f(trt, x):\n import tensorrt as trt\n b = trt.Builder(x)\n b.build_engine(1, 2)", "10.3.0"),
        ("def f(config: Any):\n config.max_workspace_size = 1", "10.0.1"),
        ("def f(trt: Any, config: Any):\n config.set_flag(trt.BuilderFlag.FP16)", "11.0.0"),
        ("def f(trt: Any):\n return trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "11.1.0"),
        ("def f(parser: Any):\n return parser.get_error(0).node_name()", "8.6.1"),
        ("def f(trt: Any):\n return trt.IProgressMonitor", "8.6.1"),
        ("def f(engine: Any):\n return engine.get_tensor_moed('x')", "10.3.0"),
        ("def f(trt: Any, config: Any):\n if hasattr(trt, 'IProgressMonitor'): config.int8_calibrator = 1", "11.4.0"),
    ],
)
def test_the_scan_finds_what_a_version_lacks(source: str, absent: str) -> None:
    wrong = [use for use in uses_of(source, "example") if absent in absent_in(use)]
    assert len(wrong) == 1


def test_a_parameter_of_unknown_kind_is_not_passed_over() -> None:
    with pytest.raises(AssertionError, match="what does parameter 'refitter' hold"):
        uses_of("def f(refitter: Any):\n return refitter.refit()", "example")


def test_uses_carry_their_place() -> None:
    (use,) = uses_of("def f(trt: Any):\n return trt.Runtime", "example")
    assert use == Use(MODULE, "Runtime", "example.f", frozenset())
