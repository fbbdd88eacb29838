"""What a comparison found, for scripts: every figure that the page shows, under the key that its section names."""

from typing import Any

from subsong.compare.analysis import Analysis
from subsong.compare.judgement import to_json
from subsong.compare.parts import gap
from subsong.compare.records import SIDES, Record


def details(analysis: Analysis) -> dict[str, Any]:
    """Return all but the verdict and the transfer table as what JSON can hold."""
    margin = analysis.margin
    return {
        "sides": {side: {"label": analysis.sides.labels[side], "plant": analysis.own_plant(side)} for side in SIDES},
        "differences": [{"key": key, "software": one, "hardware": two} for key, one, two in analysis.sides.differences],
        "statistics": {basis: to_json(judgement) for basis, judgement in analysis.judgements.items()},
        "gap": [{"part": part.name, "finding": part.finding, "text": part.text} for part in gap(analysis)],
        "split": [part.to_json() for part in analysis.split],
        "model": {side: analysis.model[side].to_json() for side in SIDES},
        "resolution": analysis.resolution.to_json(),
        "runs": [_run(analysis, index, record) for index, record in enumerate(analysis.records)],
        "excluded": [{"path": str(each.path), "reason": each.reason} for each in analysis.excluded],
        "notes": list(analysis.notes),
        "margin": {"value": margin.value, "declared_in": margin.where, "in_experiment": margin.declared},
    }


def _run(analysis: Analysis, index: int, record: Record) -> dict[str, Any]:
    return {
        "path": str(record.path),
        "side": record.side,
        "seed": record.header.seed,
        "plant": record.own_plant,
        "trials": len(record.curve.cost),
        "steps": int(record.curve.step[-1]) if len(record.curve.step) else 0,
        "evaluations": [[point.trial, point.step, point.mean] for point in record.curve.evaluations],
        "complete": record.complete,
        "counts": analysis.counts(record),
        "replay_equal": analysis.arithmetic[index].equal if index in analysis.arithmetic else None,
    }
