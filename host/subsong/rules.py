"""The learning rules by name: what each is called, perturbs, keeps and may be told. One row a rule.

The experiment file, the block, the command line, the documents' table and the tests are made from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subsong_device import layout
from subsong_device.block import NEEDS
from subsong_device.frames import RULES

if TYPE_CHECKING:
    from subsong.experiment import Experiment

WEIGHT, DRIVE = "weight", "drive"
DRIVE_FRAC = 12
BASELINES = ("running_baseline", "each_step")
PAIRS = ("unperturbed_trial", "two_sided")
ACTIVATIONS = ("identity", "hard_tanh", "tanh", "logistic")


@dataclass(frozen=True)
class Option:
    """A number of the learner's that only some rules have.

    Attributes:
        at: its word of head.
        low, high: inclusive.
        default: where the experiment leaves it out.
        why: what it is, in a few words.
    """

    at: int
    low: int
    high: int
    default: int
    why: str


@dataclass(frozen=True)
class Rule:
    """A learning rule.

    Attributes:
        name: of its file in subsong_device/learners, and in the experiment file.
        title: as people call it.
        perturbs: "weight" or "drive", in whose LSBs its amplitude is; "" where chance is in the units themselves, and
            there is no amplitude.
        amplitude: the largest, in those LSBs; 0 where there is none.
        estimators: those that it takes, its default first.
        eligibility: e_ij in one line.
        source: where it comes from.
        options: its own keys in [learner].
        activations: those that its units may have.
        strength: the option that its words of synapses have as their span: uniform in +-span, of the stream "strength".
        derived: further words of head, each with what computes it from the experiment.
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
    activations: tuple[str, ...] = ACTIVATIONS
    strength: str = ""
    derived: "tuple[tuple[int, Callable[[Experiment], int]], ...]" = ()
    control: str = ""

    @property
    def needs(self) -> tuple[int, int, int, int]:
        """What it keeps: int32 of head a weight, bits of mem a unit, words of mem a unit, words of mem a weight."""
        return NEEDS[RULES.index(self.name)]

    def amplitude_frac(self, weight_frac: int) -> int:
        """Return the fraction bits of its amplitude."""
        return weight_frac if self.perturbs == WEIGHT else DRIVE_FRAC


# Options that several rules share.
TRACE_SHIFT = Option(
    layout.TRACE_SHIFT, 0, 14, 5, 'estimator "each_step": a step fades the eligibility by 2**-trace_shift of itself'
)
LEAK_SHIFT = Option(layout.LEAK_SHIFT, 1, 12, 3, "a tick brings a potential 2**-leak_shift of the way to rest")
THRESHOLD = Option(layout.THRESHOLD, 1, 32767, 4096, "of a unit's potential, 1 LSB = 2**-12")
STRENGTH = Option(layout.STRENGTH, 1, 32767, 4096, "of a synapse, uniform in +-strength, 1 LSB = 2**-12")
PEAK_SHIFT = Option(layout.PEAK_SHIFT, 1, 10, 3, "a unit spikes in a step with a probability of at most 2**-peak_shift")
FILTER_SHIFT = Option(layout.FILTER_SHIFT, 0, 12, 4, "a step takes 2**-filter_shift of a filtered spike train off it")


def input_shift(experiment: "Experiment") -> int:
    """Return the least shift of the inputs, to 2**(15 - shift), with which an eligibility cannot reach 2**30."""
    shift = (experiment.run.steps - 1).bit_length()
    if experiment.learner.estimator == "each_step":
        shift = min(shift, experiment.learner.trace_shift)
    return shift


def spike(experiment: "Experiment") -> int:
    """Return what a spike adds to a filtered spike train: at the highest rate its mean is 1.0."""
    learner = experiment.learner
    peak = learner.peak_shift if learner.rule == "stochastic_spiking" else 0
    return max(1, min(32767, round(2.0 ** (15 + peak - learner.filter_shift))))


TABLE = (
    Rule(
        name="weight_perturbation",
        title="Weight perturbation",
        perturbs=WEIGHT,
        amplitude=4096,
        estimators=("two_sided", "unperturbed_trial", "running_baseline"),
        eligibility="xi_ij / sigma, constant over a trial",
        source="Barto, Sutton & Anderson 1983; Williams 1992; Seung 2003",
    ),
    Rule(
        name="node_perturbation",
        title="Node perturbation",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("two_sided", "unperturbed_trial", "running_baseline", "each_step"),
        eligibility="sum over t of xi_i(t) x_j(t) / sigma",
        source="Williams 1992; Xie & Seung 2004; Fiete & Seung 2006",
        options=(("trace_shift", TRACE_SHIFT),),
    ),
    Rule(
        name="reinforce",
        title="REINFORCE, Bernoulli-logistic units",
        perturbs="",
        amplitude=0,
        estimators=BASELINES,
        eligibility="sum over t of (s_i(t) - p_i(t)) x_j(t)",
        source="Williams 1992",
        options=(("trace_shift", TRACE_SHIFT),),
        activations=("logistic", "tanh"),
        derived=((layout.INPUT_SHIFT, input_shift),),
    ),
    Rule(
        name="hedonistic_synapse",
        title="Hedonistic synapse",
        perturbs="",
        amplitude=0,
        estimators=BASELINES,
        eligibility="sum over presynaptic spikes of 1 - p_ij on release, -p_ij on failure",
        source="Seung 2003",
        options=(
            ("trace_shift", TRACE_SHIFT),
            ("leak_shift", LEAK_SHIFT),
            ("threshold", THRESHOLD),
            ("strength", STRENGTH),
            ("filter_shift", FILTER_SHIFT),
        ),
        activations=("logistic",),
        strength="strength",
        derived=((layout.SPIKE, spike),),
    ),
    Rule(
        name="stochastic_spiking",
        title="Stochastic spiking",
        perturbs="",
        amplitude=0,
        estimators=BASELINES,
        eligibility="sum over t of phi_i(t) (S_i(t) - p_i(t)) h_j(t)",
        source="Xie & Seung 2004",
        options=(("trace_shift", TRACE_SHIFT), ("peak_shift", PEAK_SHIFT), ("filter_shift", FILTER_SHIFT)),
        activations=("logistic",),
        derived=((layout.INPUT_SHIFT, input_shift), (layout.SPIKE, spike)),
    ),
)

BY_NAME = {rule.name: rule for rule in TABLE}
assert tuple(BY_NAME) == RULES, "one row a rule, in the order of their numbers on the link"

# Every option that some rule has, with the rules that have it.
OPTIONS: dict[str, tuple[Option, tuple[str, ...]]] = {}
for _rule in TABLE:
    for _key, _option in _rule.options:
        OPTIONS[_key] = _option, (*OPTIONS.get(_key, (_option, ()))[1], _rule.name)
