"""A GateResult that never changes, with every kind of verdict, and with labels and paths that somebody chose badly."""

from __future__ import annotations

from edgexfer.gate.judge.limits import Limit
from edgexfer.gate.judge.verdict import Flip, GateResult, Verdict
from edgexfer.gate.measure.record import Subject

STOP = "stop | <b>here</b>"


def fixed_result() -> GateResult:
    """Returns the result that tests/golden/gate/ holds in every form."""
    target = "target raspberry-pi-5"
    return GateResult(
        subject=Subject("signs", "4f" * 32, "int8", "raspberry-pi-5", "ort", "ONNX Runtime 1.20.1", simulated=False),
        verdicts=(
            Verdict(
                Limit("latency_p50_ms", "max_regress", 0.02, relative=True, source="standard"),
                "pass",
                "-1.2 % (-2.0 to -0.4) in 40 turns",
                4.71,
                4.77,
                -0.0121,
                -0.0203,
                -0.0041,
                {"blocks": 40, "calls": 800, "confidence": 0.99},
            ),
            Verdict(
                Limit("top1", "max_regress", 0.01, source="standard"),
                "fail",
                "9 of 310 images lost and none won: 2.9 points less (p = 0.002); the limit is at most 1 point below "
                "the baseline",
                299 / 310,
                308 / 310,
                -9 / 310,
                -0.04924711272240729,
                -0.01696707467377793,
                {"images": 310, "lost": 9, "won": 0, "p_value": 0.001953125, "alpha": 0.05, "confidence": 0.9},
            ),
            Verdict(
                Limit("recall", "min", 0.9, label=STOP, source="--set"),
                "fail",
                "27 of 31 images right: 87.10 %; the limit is at least 90 %",
                27 / 31,
                low=0.7115,
                high=0.9487,
                evidence={"images": 31, "right": 27, "confidence": 0.95},
            ),
            Verdict(
                Limit("top1", "max_drop", 0.01, source=target),
                "inconclusive",
                "the bundle records no answers of the float network: export it again",
            ),
            Verdict(
                Limit("size_bytes", "max_regress", 0.1, relative=True, source="standard"),
                "pass",
                "0.0 %",
                3809711.0,
                3809711.0,
                0.0,
            ),
            Verdict(Limit("latency_p95_ms", "max", 12.0, source=target), "pass", "6.02 ms", 6.02, low=5.9, high=6.2),
        ),
        baseline="baselines/signs.json, accepted 2025-11-21 by Ada Lovelace",
        baseline_digest="0a" * 32,
        machine_class="aarch64, Cortex-A76 x 4",
        flips=(
            Flip("stop/we|rd\n<img src=x>.jpg", "7af30b729913a5f4", STOP, STOP, "go"),
            Flip("go/100%,:.jpg", "8bf30b729913a5f4", "go", "left", STOP),
            Flip("left/plain.jpg", "9cf30b729913a5f4", "left", "go", "left"),
        ),
        warnings=("the governor is powersave, 2 of 4 cores",),
        data="310 images (310 test; recorded at export, data/signs)",
        seconds=31.25,
        host={"cpu": "Cortex-A76", "cores": 4},
    )
