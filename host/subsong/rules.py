"""The learning rules by name: what each is called, perturbs, keeps and may be told. One row a rule.

The experiment file, the block, the command line, the documents' table and the tests are made from it.
"""

from dataclasses import dataclass

from subsong_device import layout
from subsong_device.block import NEEDS
from subsong_device.frames import RULES

WEIGHT, DRIVE = "weight", "drive"
DRIVE_FRAC = 12
BASELINES = ("running_baseline", "each_step")
PAIRS = ("unperturbed_trial", "two_sided")


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
        amplitude: the largest, in those LSBs.
        estimators: those that it takes, its default first.
        eligibility: e_ij in one line.
        source: where it comes from.
        options: its own keys in [learner].
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
    control: str = ""
    spiking: bool = False

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
    ),
)

BY_NAME = {rule.name: rule for rule in TABLE}
assert tuple(BY_NAME) == RULES, "one row a rule, in the order of their numbers on the link"

# Every option that some rule has, with the rules that have it.
OPTIONS: dict[str, tuple[Option, tuple[str, ...]]] = {}
for _rule in TABLE:
    for _key, _option in _rule.options:
        OPTIONS[_key] = _option, (*OPTIONS.get(_key, (_option, ()))[1], _rule.name)
