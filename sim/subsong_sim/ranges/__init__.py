"""The range checker: proves that no expression of any kernel leaves int32, or names the one that it cannot bound.

docs/ranges.md says what is proved from what.
"""

from typing import NamedTuple

from subsong_device.frames import MAX_STEPS
from subsong_sim.dialect import Violation
from subsong_sim.errors import EngineError
from subsong_sim.loader import LEARNER_KERNELS, PACKAGE, TASK_KERNELS, Source, gather
from subsong_sim.ranges.interpreter import Place
from subsong_sim.ranges.invariants import Block
from subsong_sim.ranges.rules import RULES
from subsong_sim.ranges.trial import found_by, prove_learner, prove_task
from subsong_sim.ranges.values import Interval

__all__ = ["Proof", "check_ranges", "prove", "require_ranges"]


class Proof(NamedTuple):
    """What was proved of kernels on a block.

    Attributes:
        violations: what was not; empty: the proof is complete.
        seen: an interval of every expression, by kernel and place.
    """

    violations: list[Violation]
    seen: dict[Place, Interval]

    @property
    def kernels(self) -> int:
        """How many kernels have expressions that were met."""
        return len({place[0] for place in self.seen})

    @property
    def widest(self) -> tuple[Place, Interval]:
        """The expression of the largest magnitude."""
        return max(self.seen.items(), key=lambda item: max(abs(item[1][0]), abs(item[1][1])))


def prove(
    rule: str,
    head: bytes,
    mem: bytes,
    task: bytes = b"",
    steps: int = MAX_STEPS,
    evaluate_steps: int = 0,
    learner: Source | None = None,
    tasks: Source | None = None,
) -> Proof:
    """Prove the kernels of a rule on a block, and those of its task.

    Args:
        rule: such as "weight_perturbation".
        head: little-endian int32 words, as the host builds them.
        mem: little-endian uint16 words.
        task: little-endian uint16 words; none for a plant.
        steps: of a trial, at most.
        evaluate_steps: of an evaluation, at most; 0: as many.
        learner: its kernels, where they are not the firmware's.
        tasks: the task's kernels, likewise.

    Raises:
        EngineError: the rule is unknown.
    """
    if rule not in RULES:
        raise EngineError(f"rule {rule!r}: choose one of {', '.join(RULES)}")
    block = Block(rule, head, mem, steps, evaluate_steps)
    violations = block.begins_well()
    seen: dict[Place, Interval] = {}
    if block.sizes:
        machine = prove_learner(learner or gather(f"{PACKAGE}.learners.{rule}", LEARNER_KERNELS), block)
        violations += found_by(machine)
        seen.update(machine.sink.seen)
    if task:
        machine = prove_task(tasks or gather(f"{PACKAGE}.tasks", TASK_KERNELS), task)
        violations += found_by(machine)
        seen.update(machine.sink.seen)
    return Proof(violations, seen)


def check_ranges(rule: str, head: bytes, mem: bytes, task: bytes = b"", steps: int = MAX_STEPS) -> list[Violation]:
    """Return every expression that is not proved to fit; see `prove`."""
    return prove(rule, head, mem, task, steps).violations


def require_ranges(
    rule: str, head: bytes, mem: bytes, task: bytes = b"", steps: int = MAX_STEPS, evaluate_steps: int = 0
) -> Proof:
    """Prove, or raise.

    Raises:
        EngineError: lists every expression that is not proved to fit.
    """
    proof = prove(rule, head, mem, task, steps, evaluate_steps)
    if proof.violations:
        listed = "\n".join(f"  {v}" for v in proof.violations)
        raise EngineError(f"not proved to stay within 32 bits (see docs/ranges.md):\n{listed}")
    return proof
