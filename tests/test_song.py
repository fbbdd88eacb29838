"""The song: the task, and the bird that learns it beside birds that cannot; test_drawing.py has the picture."""

import struct

import numpy as np
import pytest

from subsong import song
from subsong.block import build_block
from subsong.experiment import Experiment, parse_experiment
from subsong.experiment_text import example_text
from subsong.session import simulate
from subsong_device import layout
from subsong_device.faults import Fault
from subsong_device.task_check import check_task
from subsong_sim.engines import task_kernels


def bird(trials: int, seed: int = 1, every: int = 0, **learner: int) -> Experiment:
    """Return the shipped example, shorter, with some numbers of the learner's changed."""
    experiment = parse_experiment(example_text("song"), "test").with_seed(seed)
    run = experiment.run.model_copy(update={"trials": trials, "evaluate_every": every})
    return experiment.model_copy(
        update={"run": run, "learner": experiment.learner.model_copy(update=learner)},
    )


def task_words() -> list[int]:
    """Return the task's block."""
    data = build_block(bird(1)).task
    return list(struct.unpack(f"<{len(data) // 2}H", data))


def test_costs_are_those_of_what_was_heard_and_come_late() -> None:
    kernels, task = task_kernels("cpython"), task_words()
    head = [0] * layout.LAYERS_AT
    rng = np.random.default_rng(1)
    template = [[round(v * 4096) for v in row] for row in song.song_template()]
    for _ in range(2):  # a song begins as the one before did
        kernels.task_begin(head, task)
        y, due, told, x = [0] * song.MUSCLES, [], [], [0] * song.SENSORS
        for t in range(song.STEPS + 20):
            kernels.task_sense(task, x)
            bursts = [j for j in range(song.SENSORS) if 0 <= t - j * song.SPACING < song.BURST and t < song.STEPS]
            assert [j for j, word in enumerate(x) if word] == bursts
            assert set(x) <= {0, 0x7FFF}
            u = [int(v) for v in rng.integers(-3000, 3000, song.MUSCLES)]
            y = [a + ((b - a + 2) >> song.MUSCLE_SHIFT) for a, b in zip(y, u, strict=True)]
            error = 0
            if t < song.STEPS:
                error = sum((a - b) ** 2 for a, b in zip(y, template[t], strict=True))
            due.append(min(error, 2**28 >> song.CEILING_SHIFT))
            told.append(kernels.task_cost(task, [v & 0xFFFF for v in u]))
        assert told == [0] * song.DELAY + due[: -song.DELAY]
        assert max(due) > 2**20


@pytest.mark.parametrize(
    ("word", "value"),
    [
        (layout.SONG_DELAY, 9),
        (layout.SONG_RING, 8),
        (layout.SONG_MUSCLE_SHIFT, 16),
        (layout.SONG_CEILING_SHIFT, 29),
        (layout.TASK_COUNT, 121),
        (layout.TASK_COUNT, 0),
    ],
)
def test_a_block_that_reaches_beyond_itself_is_refused(word: int, value: int) -> None:
    task = task_words()
    check_task(task, song.SENSORS, song.MUSCLES)
    task[word] = value
    with pytest.raises(Fault):
        check_task(task, song.SENSORS, song.MUSCLES)


@pytest.mark.slow
def test_engines_sing_the_same() -> None:
    results = [simulate(bird(3, every=2), out=None, engine=engine) for engine in ("cpython", "native")]
    assert results[0].costs == results[1].costs
    assert results[0].evaluations == results[1].evaluations


@pytest.mark.slow
def test_a_bird_learns_its_song_and_birds_that_cannot_do_not() -> None:
    silence = float(np.square(song.song_template()).sum()) / (128 * song.MUSCLES)
    for seed in (1, 2):
        learned, still, forgetful = (
            simulate(bird(1500, seed, **numbers), out=None).final
            for numbers in ({}, {"rate": 1, "rate_shift": 29}, {"trace_shift": 0})
        )
        assert learned is not None and still is not None and forgetful is not None
        assert learned < 0.4 * silence
        assert still > 0.8 * silence, "it hardly learns"
        # Its synapses have forgotten what LMAN did by the time that the cost comes.
        assert forgetful > 0.8 * silence
