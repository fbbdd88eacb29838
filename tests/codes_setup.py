"""Blocks of learners with a code, a velocity, or two passes: a set-up and further keys of [learner]."""

from collections.abc import Mapping
from dataclasses import replace

from cases import Case, Setup, Trial, head_words, mem_words
from subsong.block import Block, build_block
from subsong.experiment import Experiment, parse_experiment


def experiment_of(setup: Setup, keys: Mapping[str, object], task: str = "", steps: int = 1) -> Experiment:
    """Return a set-up's experiment with these keys in [learner], texts in quotes as they are."""
    lines = "".join(f"{key} = {value}\n" for key, value in keys.items())
    return parse_experiment(replace(setup, steps=steps).toml(task).replace("\n[plant]", f"\n{lines}[plant]"), "setup")


def block_of(setup: Setup, **keys: object) -> Block:
    """Return a set-up's block, its `weights` and `head` overwritten."""
    built = build_block(experiment_of(setup, keys))
    head, mem = head_words(built.head), mem_words(built.mem)
    for at, value in setup.head.items():
        head[at] = value
    mem[: len(setup.weights)] = [w & 0xFFFF for w in setup.weights]
    return replace(
        built,
        head=b"".join((v & 0xFFFFFFFF).to_bytes(4, "little") for v in head),
        mem=b"".join(w.to_bytes(2, "little") for w in mem),
    )


def case(setup: Setup, trials: tuple[Trial, ...], **keys: object) -> Case:
    """Return the case of a set-up and further keys."""
    block = block_of(setup, **keys)
    return Case(block.rule, block.head, block.mem, trials)
