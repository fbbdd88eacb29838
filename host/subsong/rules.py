"""The learning rules by name: what each is called, perturbs, keeps and may be told. One row a rule.

The experiment file, the block, the command line, the documents' table and the tests are made from it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subsong_device import layout
from subsong_device.block import NEEDS, keeps_velocity
from subsong_device.frames import MAX_STEPS, RULES

if TYPE_CHECKING:
    from subsong.experiment import Experiment

WEIGHT, DRIVE = "weight", "drive"
DRIVE_FRAC = 12
BASELINES = ("running_baseline", "each_step")
PAIRS = ("unperturbed_trial", "two_sided", "perturbed_pair")
STATELESS = ("identity", "hard_tanh", "tanh", "logistic")
ACTIVATIONS = (*STATELESS, "integrate_fire")
RATE_KEYS = frozenset({"rate", "rate_shift", "spread_shift", "anneal"})  # of [learner], for rules with a rate


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
        amplitude: the largest, in those LSBs; 0 where there is none.
        estimators: those that it takes, its default first.
        eligibility: e_ij in one line.
        source: where it comes from.
        options: its own keys in [learner].
        activations: those that its units may have.
        strength: the option that its words of synapses have as their span: uniform in +-span, of the stream "strength".
        derived: further words of head, each with what computes it from the experiment.
        rated: whether it has a learning rate; [learner] of a rule without one has none of RATE_KEYS.
        zero_mean: whether its random eligibility has zero mean given all that came before, which is what makes a cost
            that does not depend on the perturbation move nothing on average. Tests hold every rule to what it says.
        most_steps: of a trial.
        control: what it shows, where it is one.
        spiking: it has integrate-and-fire layers, and learns those alone; other layers are fixed pools.
    """

    name: str
    title: str
    perturbs: str
    amplitude: int
    estimators: tuple[str, ...]
    eligibility: str
    source: str
    options: tuple[tuple[str, Option], ...] = ()
    activations: tuple[str, ...] = STATELESS
    strength: str = ""
    derived: "tuple[tuple[int, Callable[[Experiment], int]], ...]" = ()
    rated: bool = True
    zero_mean: bool = True
    most_steps: int = MAX_STEPS
    control: str = ""
    spiking: bool = False

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
THRESHOLD = Option(layout.FIRE_AT, 1, 32767, 4096, "of a unit's potential, 1 LSB = 2**-12")
STRENGTH = Option(layout.STRENGTH, 1, 32767, 4096, "of a synapse, uniform in +-strength, 1 LSB = 2**-12")
PEAK_SHIFT = Option(layout.PEAK_SHIFT, 1, 10, 3, "a unit spikes in a step with a probability of at most 2**-peak_shift")
FILTER_SHIFT = Option(layout.FILTER_SHIFT, 0, 12, 4, "a step takes 2**-filter_shift of a filtered spike train off it")
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


def input_shift(experiment: "Experiment") -> int:
    """Return the least shift of an input, 0..15, with which an eligibility of factors stays within 2**30.

    A factor has 15 fraction bits, and its product with an input is at most 2**30. As many of them come together as a
    trial has steps, or, where it fades, 2**trace_shift.
    """
    shift = (experiment.run.steps - 1).bit_length()
    if experiment.learner.estimator == "each_step":
        shift = min(shift, experiment.learner.trace_shift)
    return shift


def spike(experiment: "Experiment") -> int:
    """Return what a spike adds to a filtered spike train: at the highest rate its mean is 1.0."""
    learner = experiment.learner
    peak = learner.peak_shift if learner.rule == "stochastic_spiking" else 0
    return max(1, min(32767, round(2.0 ** (15 + peak - learner.filter_shift))))


# Integrate-and-fire units (subsong_device/kernels/integrate_fire.py).
SPIKING = (
    ("leak_shift", Option(layout.LEAK_SHIFT, 1, 12, 3, "a tick brings a potential 2**-leak_shift of the way to rest")),
    (
        "synapse_shift",
        Option(layout.SYNAPSE_SHIFT, 0, 14, 3, "a tick takes 2**-synapse_shift of a synaptic activation off it"),
    ),
    ("spike_shift", Option(layout.SPIKE_SHIFT, 1, 14, 2, "a spike adds 2**-spike_shift to it")),
    ("refractory", Option(layout.REFRACTORY, 0, 255, 1, "ticks that a unit rests after a spike")),
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
    Rule(
        name="hebb",
        title="Reward-modulated Hebb",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("running_baseline", "unperturbed_trial", "each_step"),
        eligibility="sum over t of y_i(t) x_j(t)",
        source="Hebb 1949; Legenstein, Pecevski & Maass 2008; Frémaux, Sprekeler & Gerstner 2010",
        options=(("trace_shift", TRACE_SHIFT),),
        derived=((layout.INPUT_SHIFT, input_shift),),
        zero_mean=False,
        control="an eligibility with a mean drifts, and fails",
    ),
    Rule(
        name="keep_if_better",
        title="Keep if better",
        perturbs=WEIGHT,
        amplitude=4096,
        estimators=("best_so_far",),
        eligibility="none: the step is kept or taken back",
        source="Rastrigin 1963; Solis & Wets 1981",
        rated=False,
        control="one bit a trial in place of a cost",
    ),
    Rule(
        name="run_and_tumble",
        title="Run and tumble",
        perturbs=WEIGHT,
        amplitude=4096,
        estimators=("best_so_far",),
        eligibility="none: the step is kept and made again, or taken back",
        source="Berg & Brown 1972; Bremermann & Anderson 1989; Anderson 1993",
        rated=False,
        control="one bit a trial, and going on where it was good",
    ),
    Rule(
        name="conductance_perturbation",
        title="Dynamic perturbation of conductances",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("running_baseline", "unperturbed_trial", "two_sided", "each_step"),
        eligibility="sum over t of xi_i(t) s_j(t), s_j the synaptic activation",
        source="Fiete & Seung 2006",
        options=(
            ("trace_shift", TRACE_SHIFT),
            *SPIKING,
            ("tick_shift", Option(layout.TICK_SHIFT, 0, 10, 0, "a step has 2**tick_shift ticks")),
        ),
        spiking=True,
        activations=ACTIVATIONS,
    ),
    Rule(
        name="songbird",
        title="The songbird",
        perturbs=DRIVE,
        amplitude=16384,
        estimators=("each_step", "running_baseline", "unperturbed_trial", "two_sided"),
        eligibility="fading sum over t of LMAN_i(t) HVC_j(t)",
        source="Fiete, Fee & Seung 2007",
        options=(
            ("trace_shift", TRACE_SHIFT),
            *SPIKING,
            ("lman_shift", Option(layout.LMAN_SHIFT, 0, 10, 1, "LMAN draws anew every 2**lman_shift steps")),
        ),
        spiking=True,
        activations=ACTIVATIONS,
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
            SPIKING[0],
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


# What the command line and the documents say of a rule; the first is its name.
COLUMNS = ("rule", "perturbs", "eligibility", "estimators", "own keys", "sources")


def rows() -> list[tuple[str, ...]]:
    """Return what there is to say of every rule, COLUMNS each."""
    return [
        (
            rule.name,
            {WEIGHT: "weights", DRIVE: "drives"}.get(rule.perturbs, "chance is in the units"),
            rule.eligibility,
            ", ".join(rule.estimators),
            ", ".join(key for key, _ in rule.options) + ("" if rule.rated else "no rate"),
            rule.source,
        )
        for rule in TABLE
    ]


def markdown() -> str:
    """Return the same as a Markdown table, every name a link to its section, and what each control is one for."""
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, *others in rows():
        lines.append(f"| [{name}](#{name}) | {' | '.join(others)} |")
    controls = [rule for rule in TABLE if rule.control]
    lines += ["", f"{', '.join(rule.name for rule in controls)} are controls:", ""]
    lines += [f"- {rule.name}: {rule.control}." for rule in controls]
    return "\n".join(lines) + "\n"
