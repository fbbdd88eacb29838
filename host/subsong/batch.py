"""Many runs at once."""

from collections.abc import Sequence

from subsong.experiment import Experiment
from subsong.session import RunResult, simulate


def simulate_many(
    experiments: Sequence[Experiment],
    *,
    mismatch: bool = False,
    threads: int | None = None,  # noqa: ARG001 - one after another
) -> list[RunResult]:
    """Return what `simulate(experiment, out=None)` returns for each experiment."""
    return [simulate(experiment, out=None, mismatch=mismatch) for experiment in experiments]
