"""The learning rules by name: what each is called, perturbs, keeps and may be told. One row a rule.

The experiment file, the block, the command line, the documents' table and the tests are made from it.
"""

from dataclasses import dataclass

from subsong_device import layout
from subsong_device.block import NEEDS, keeps_velocity
from subsong_device.frames import MAX_STEPS, RULES

WEIGHT, DRIVE = "weight", "drive"
DRIVE_FRAC = 12
BASELINES = ("running_baseline", "each_step")
PAIRS = ("unperturbed_trial", "two_sided", "perturbed_pair")


@dataclass(frozen=True)
class Option:
    """A number of the learner's, or a choice, that only some rules have.

    Attributes:
        at: its word of head.
        low, high: inclusive.
        default: where the experiment leaves it out.
        why: what it is, in a few words.
        choices: what the experiment file calls low, low + 1, ..: it says one of these texts; none: it says the number.
    """

    at: int
    low: int
    high: int
    default: int
    why: str
    choices: tuple[str, ...] = ()

    def word(self, value: int | str) -> int:
        """Return what head holds for the experiment file's value."""
        return value if isinstance(value, int) else self.low + self.choices.index(value)


@dataclass(frozen=True)
class Rule:
    """A learning rule.

    Attributes:
        name: of its file in subsong_device/learners, and in the experiment file.
        title: as people call it.
        perturbs: "weight" or "drive", in whose LSBs its amplitude is; "" where chance is in the units themselves, and
            there is no amplitude.
        amplitude: the largest, in those LSBs.
        estimators: those that it takes, its default first.
        eligibility: e_ij in one line.
        source: where it comes from.
        options: its own keys in [learner].
        most_steps: of a trial.
        control: what it shows, where it is one.
    """

    name: str
    title: str
    perturbs: str
    amplitude: int
    estimators: tuple[str, ...]
    eligibility: str
    source: str
    options: tuple[tuple[str, Option], ...] = ()
    most_steps: int = MAX_STEPS
    control: str = ""

    @property
    def needs(self) -> tuple[int, int, int, int]:
        """What it keeps: int32 of head a weight, bits of mem a unit, words of mem a unit, words of mem a weight."""
        return NEEDS[RULES.index(self.name)]

    def int32s(self, tau: int, momentum_shift: int) -> int:
        """Return how many int32 of head it keeps for each weight: eligibility, velocity."""
        return self.needs[0] + keeps_velocity(RULES.index(self.name), tau, momentum_shift)

    def amplitude_frac(self, weight_frac: int) -> int:
        """Return the fraction bits of its amplitude."""
        return weight_frac if self.perturbs == WEIGHT else DRIVE_FRAC


# Options that several rules share.
TRACE_SHIFT = Option(
    layout.TRACE_SHIFT, 0, 14, 5, 'estimator "each_step": a step fades the eligibility by 2**-trace_shift of itself'
)
CODE = Option(
    layout.CODE,
    layout.RANDOM_SIGNS,
    layout.ONE_AT_A_TIME,
    layout.RANDOM_SIGNS,
    "of the perturbation",
    ("random", "walsh_hadamard", "one_at_a_time"),
)
TAU = Option(layout.TAU, 1, 32767, 1, "updates that are gathered before the weights move")
MOMENTUM_SHIFT = Option(
    layout.MOMENTUM_SHIFT,
    0,
    10,
    0,
    "a velocity keeps 1 - 2**-momentum_shift of itself after each move; 0: no momentum",
)

TABLE = (
    Rule(
        name="weight_perturbation",
        title="Weight perturbation",
        perturbs=WEIGHT,
        amplitude=4096,
        estimators=("two_sided", "unperturbed_trial", "running_baseline"),
        eligibility="xi_ij / sigma, constant over a trial",
        source="Barto, Sutton & Anderson 1983; Williams 1992; Seung 2003; McCaughan et al. 2023",
        options=(("code", CODE), ("tau", TAU), ("momentum_shift", MOMENTUM_SHIFT)),
    ),
    Rule(
        name="node_perturbation",
        title="Node perturbation",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("two_sided", "unperturbed_trial", "running_baseline", "each_step"),
        eligibility="sum over t of xi_i(t) x_j(t) / sigma",
        source="Williams 1992; Xie & Seung 2004; Fiete & Seung 2006; Oripov et al. 2025",
        options=(("trace_shift", TRACE_SHIFT), ("code", CODE), ("tau", TAU), ("momentum_shift", MOMENTUM_SHIFT)),
    ),
    Rule(
        name="activity_difference",
        title="Node perturbation from differences of activity",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("perturbed_pair",),
        eligibility="(h_i(2) - h_i(1)) x_j, of two perturbed trials of one step",
        source="Dalm, van Gerven & Ahmad 2023; Koenders et al. 2025",
        most_steps=1,
    ),
)

BY_NAME = {rule.name: rule for rule in TABLE}
assert tuple(BY_NAME) == RULES, "one row a rule, in the order of their numbers on the link"

# Every option that some rule has, with the rules that have it.
OPTIONS: dict[str, tuple[Option, tuple[str, ...]]] = {}
for _rule in TABLE:
    for _key, _option in _rule.options:
        OPTIONS[_key] = _option, (*OPTIONS.get(_key, (_option, ()))[1], _rule.name)
