"""Kernels drawn from the whole dialect: compiled, on every target, they leave what Python's int32 leaves."""

from pathlib import Path

import pytest

from random_kernels import Author, buffers, reference
from subsong.compiler import TARGETS, compile_kernels
from subsong_sim.loader import gather
from unicorn_engine import Machine

KERNELS = tuple(f"k{number}" for number in range(6))
ARGUMENTS = (0, 1, -1, 5, 0x7FFF, -32768, 2**31 - 1, -(2**31))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(24))
def test_drawn_kernels_are_computed_alike(tmp_path: Path, seed: int) -> None:
    path = tmp_path / f"drawn_{seed}.py"
    path.write_text(Author(seed).module(len(KERNELS)), encoding="utf-8")
    expected = reference(gather(str(path), KERNELS))
    machines = [Machine(compile_kernels(str(path), KERNELS, target)) for target in TARGETS]
    for number, n in enumerate(ARGUMENTS):
        for name in KERNELS:
            words = buffers(seed * 100 + number)
            right = getattr(expected, name)(*words, n), [list(each) for each in words]
            for machine in machines:
                words = buffers(seed * 100 + number)
                got = getattr(machine, name)(*words, n), [list(each) for each in words]
                assert got == right, f"{machine.target}: {name}({n}) of seed {seed}"
