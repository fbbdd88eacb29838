"""The short sweep that the settings of perturbation are chosen from."""

from typing import NamedTuple

from bias.cases import Case
from bias.learning import learned
from subsong.compare.statistics import interquartile_mean

AMPLITUDES = (0.1, 0.2, 0.3)
SHIFTS = (7, 8, 9)
SEEDS = range(101, 109)  # none of those that are measured


class Tried(NamedTuple):
    """One setting: interquartile means of the final cost on the true plant, at severity 0 and at 1."""

    amplitude: float
    rate_shift: int
    unbiased: float
    severe: float


def tried(case: Case) -> list[Tried]:
    """Return what every setting comes to, learning on the true plant."""
    settings = [(amplitude, shift) for amplitude in AMPLITUDES for shift in SHIFTS]
    experiments = []
    for amplitude, shift in settings:
        for severity in (0.0, 1.0):
            for seed in SEEDS:
                experiment = case.experiment(seed, severity)
                learner = experiment.learner.model_copy(update={"amplitude": amplitude, "rate_shift": shift})
                experiments.append(experiment.model_copy(update={"learner": learner}))
    results = iter(learned(experiments, mismatch=True))
    means = [float(interquartile_mean([next(results).final for _ in SEEDS])) for _ in range(2 * len(settings))]
    return [Tried(*setting, *means[2 * k : 2 * k + 2]) for k, setting in enumerate(settings)]
