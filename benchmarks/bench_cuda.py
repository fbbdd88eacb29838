"""Runs times steps a second: a batch on an NVIDIA GPU against the same batch on all of this processor's cores.

`make bench-cuda`; QUICK=1 for less. Without a GPU it says so and ends. Times are those of learning, compilation aside,
copies to the GPU and back included; the two are timed in turn, three times, and the best of each counts. The results
of both are held against each other, word for word.
"""

import os
import platform
from dataclasses import replace
from typing import Literal

import numba
from figures import example

from subsong.batch import simulate_many
from subsong.experiment import Experiment
from subsong.session import RunResult
from subsong_sim.cuda import cuda_problem

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
ROUNDS = 1 if QUICK else 3
RUNS = (256, 2048) if QUICK else (256, 2048, 16384)
TRIALS = 200 if QUICK else 1000
RULES = ("weight_perturbation", "node_perturbation")
DEVICES: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")


def short(experiment: Experiment) -> Experiment:
    """Return an experiment that learns for TRIALS trials, whatever it reaches."""
    run = experiment.run.model_copy(update={"trials": TRIALS, "evaluate_every": 100, "stop_cost": None})
    return experiment.model_copy(update={"run": run})


def speed(results: list[RunResult]) -> float:
    """Return steps a second, of all runs together."""
    return sum(each.steps for each in results) / sum(each.seconds for each in results)


def compare(experiments: list[Experiment]) -> tuple[float, float]:
    """Return steps a second on the processor and on the GPU.

    Raises:
        AssertionError: a run came to something else on the GPU.
    """
    best = dict.fromkeys(DEVICES, 0.0)
    for _ in range(ROUNDS):
        results = {device: simulate_many(experiments, device=device) for device in DEVICES}
        best = {device: max(best[device], speed(each)) for device, each in results.items()}
        for k, (there, here) in enumerate(zip(results["cuda"], results["cpu"], strict=True)):
            assert replace(there, seconds=0.0) == replace(here, seconds=0.0), f"run {k} differs on the GPU"
    return best["cpu"], best["cuda"]


def main() -> None:
    """Print the table."""
    problem = cuda_problem()
    if problem is not None:
        print(problem)
        return
    from subsong_sim.cuda_words import SIMULATED, cuda

    if SIMULATED:
        print("NUMBA_ENABLE_CUDASIM is set, and how fast a simulated GPU is says nothing; unset it")
        return
    name = cuda.get_current_device().name
    print(
        f"{name.decode() if isinstance(name, bytes) else name}; Python {platform.python_version()}, "
        f"Numba {numba.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    )
    print("| xor, rule | runs | processor steps/s | GPU steps/s | GPU / processor |")
    print("|---|---|---|---|---|")
    for rule in RULES:
        many = [short(example("xor", rule, seed)) for seed in range(max(RUNS))]
        for device in DEVICES:
            simulate_many(many[:1], device=device)  # compiles
        for runs in RUNS:
            cpu, gpu = compare(many[:runs])
            print(f"| {rule} | {runs:,} | {cpu:,.0f} | {gpu:,.0f} | {gpu / cpu:.2f} |")


if __name__ == "__main__":
    main()
