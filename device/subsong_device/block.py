"""A learner's block of memory on the board, as OPEN asks for it and WRITE fills it.

Machine code asks no questions: whether a block lies within its own buffers is asked here, once, before any kernel runs.
"""

import gc

from subsong_device import frames, layout, profile
from subsong_device.faults import BLOCK, CHECKSUM, Fault
from subsong_device.link import shared_buffer
from subsong_device.plant_check import check_plant, is_plant
from subsong_device.task_check import check_task

_FOLDERS = ("learners", "viper", "machine")


def load_kernels(rule, tier=0):
    """Return the module with begin, act and end of a rule, and the module of the tasks.

    Args:
        rule: index in frames.RULES.
        tier: 0 bytecode, 1 viper, 2 machine code; the last two are on boards that deploy built them for.

    Raises:
        ImportError: a MicroPython without an inline assembler took machine code out of a .mpy file for bytecode.
    """
    package = "subsong_device." + _FOLDERS[tier]
    learner = __import__(package + "." + frames.RULES[rule], None, None, ("begin",))
    if tier == 2 and profile.LOADED and type(learner.begin) is type(load_kernels):
        raise ImportError("machine code was loaded as bytecode")
    return learner, __import__((package if tier else "subsong_device") + ".tasks", None, None, ("task_begin",))


def collect():
    """Collect garbage and return the heap's free bytes; CPython, which counts none, is left alone: 0."""
    if not hasattr(gc, "mem_free"):
        return 0
    gc.collect()
    return gc.mem_free()


# What each rule keeps beside weights and signals, in the order of frames.RULES: int32 of head a weight (eligibility),
# bits of mem a unit (signs), words of mem a unit, words of mem a weight.
NEEDS = (
    (0, 0, 0, 0),  # weight_perturbation
    (1, 1, 0, 0),  # node_perturbation
    (1, 1, 0, 0),  # activity_difference
    (1, 1, 1, 0),  # hebb
    (0, 0, 0, 0),  # keep_if_better
    (0, 0, 0, 0),  # run_and_tumble
    (1, 1, layout.SPIKING_WORDS, 0),  # conductance_perturbation
    (1, 1, layout.SPIKING_WORDS, 0),  # songbird
    (1, 0, 1, 0),  # reinforce
    (1, 0, 2, 1),  # hedonistic_synapse
    (1, 0, 3, 0),  # stochastic_spiking
)
# Ranges of the words of head that are a rule's own (layout.OWN ..), in the same order: word, lowest, highest.
_CODE_AND_VELOCITY = (
    (layout.CODE, layout.RANDOM_SIGNS, layout.ONE_AT_A_TIME),
    (layout.CODE_STEP, 0, 0x1FFFFFFF),
    (layout.TAU, 1, 32767),
    (layout.WAITING, 0, 32766),
    (layout.MOMENTUM_SHIFT, 0, 10),
)
_INTEGRATE_FIRE = (
    (layout.LEAK_SHIFT, 1, 12),
    (layout.SYNAPSE_SHIFT, 0, 14),
    (layout.SPIKE_SHIFT, 1, 14),
    (layout.REFRACTORY, 0, 255),
)
OWN_RANGES = (
    _CODE_AND_VELOCITY,  # weight_perturbation
    _CODE_AND_VELOCITY,  # node_perturbation
    (),  # activity_difference
    ((layout.INPUT_SHIFT, 0, 15),),  # hebb
    (),  # keep_if_better
    (),  # run_and_tumble
    _INTEGRATE_FIRE + ((layout.TICK_SHIFT, 0, 10),),  # conductance_perturbation
    _INTEGRATE_FIRE + ((layout.LMAN_SHIFT, 0, 10),),  # songbird
    ((layout.INPUT_SHIFT, 0, 15),),  # reinforce
    (  # hedonistic_synapse
        (layout.LEAK_SHIFT, 0, 14),
        (layout.FIRE_AT, 1, 32767),
        (layout.FILTER_SHIFT, 0, 14),
        (layout.SPIKE, 1, 32767),
    ),
    (  # stochastic_spiking
        (layout.INPUT_SHIFT, 0, 15),
        (layout.PEAK_SHIFT, 0, 14),
        (layout.FILTER_SHIFT, 0, 14),
        (layout.SPIKE, 1, 32767),
    ),
)
# Rules that have integrate-and-fire layers.
SPIKING = ("conductance_perturbation", "songbird")
# Rules that gather their updates in a velocity, one more int32 of head a weight, where TAU or MOMENTUM_SHIFT says so;
# and whose perturbation may be a code.
WITH_VELOCITY = ("weight_perturbation", "node_perturbation")
MOST_SIGN_WORDS = 1024  # a step, of a deterministic code over drives

# Ranges of the scalars (docs/arithmetic.md) without which a kernel would leave its buffers or its 32 bits.
RANGES = (
    (layout.ESTIMATOR, layout.RUNNING_BASELINE, layout.PERTURBED_PAIR),
    (layout.AMPLITUDE, 0, 16384),
    (layout.RATE, 1, 16383),
    (layout.RATE_SHIFT, 0, 29),
    (layout.BASELINE_SHIFT, 1, 15),
    (layout.STOCHASTIC, 0, 1),
    (layout.TRACE_SHIFT, 0, 14),
    (layout.LIMIT, 0, 32767),
    (layout.BASELINE, -layout.COST_LIMIT, layout.COST_LIMIT),
    (layout.PHASE, 0, 1),
    (layout.REMAINDER, 0, 0x7FFF),
    (layout.PERTURBATION, 0, 0xFFFF),
    (layout.PERTURBATION + 1, 0, 0xFFFF),
    (layout.ROUNDING, 0, 0xFFFF),
    (layout.ROUNDING + 1, 0, 0xFFFF),
    (layout.SPREAD_SHIFT, 0, 15),
    (layout.ANNEAL, 0, layout.ONE_RATE),
    (layout.SPREAD, 0, 2 * layout.SPREAD_TOP),
    (layout.SPREAD_FRAC, 0, layout.MOST_SPREAD_FRAC),
    (layout.ANNEALED, layout.LEAST_RATE, layout.ONE_RATE),
)


class Block:
    """Buffers for a learner and its task, or what the guard of its plant is told.

    Args:
        rule: index in frames.RULES.
        n_sensors, n_actuators: words of a step.
        head_words, mem_words, task_words: sizes of the regions; task_words is 0 for a plant in the loop.

    Attributes:
        head: array('i'); mem, task: array('H').
        regions: the same three as bytearrays, in the order of frames.HEAD, MEM, TASK_BLOCK.

    Raises:
        MemoryError: no room.
    """

    def __init__(self, rule, n_sensors, n_actuators, head_words, mem_words, task_words):
        self.rule = rule
        self.n_sensors = n_sensors
        self.n_actuators = n_actuators
        # The largest first, while the heap is in one piece.
        self.mem, mem = shared_buffer("H", 2 * mem_words)
        self.head, head = shared_buffer("i", 4 * head_words)
        self.task, task = shared_buffer("H", 2 * task_words)
        self.regions = (head, mem, task)

    def seal(self, *checksums):
        """Check that the regions hold what the host sent, and that it makes sense.

        Raises:
            Fault: CHECKSUM, its detail the region; or BLOCK.
        """
        for region in range(3):
            if frames.crc32(self.regions[region]) != checksums[region]:
                raise Fault(CHECKSUM, region)
        check_block(self.rule, self.head, len(self.mem), self.n_sensors, self.n_actuators)
        if is_plant(self.task):
            check_plant(self.task, self.n_sensors, self.n_actuators)
        elif len(self.task):
            check_task(self.task, self.n_sensors, self.n_actuators)


def _need(condition, word):
    if not condition:
        raise Fault(BLOCK, word)


def keeps_velocity(rule: int, tau: int, momentum_shift: int) -> bool:
    """Whether a rule, by its index in frames.RULES, keeps a velocity."""
    return frames.RULES[rule] in WITH_VELOCITY and (tau > 1 or momentum_shift > 0)


def check_block(rule, head, mem_words, n_sensors, n_actuators):
    """Check everything in head that kernels use as a count, an offset or a shift.

    Args:
        rule: index in frames.RULES.
        head: int32 words, layout.LAYERS_AT + layout.LAYER_WORDS or more.
        mem_words: words of mem.
        n_sensors: of the link, to equal the first layer's inputs.
        n_actuators: likewise, the last layer's outputs.

    Raises:
        Fault: BLOCK, its detail the first word of head that is wrong.
    """
    eligibility, bits, unit_words, synapse_words = NEEDS[rule]
    n_layers = head[layout.N_LAYERS]
    last_kind = layout.INTEGRATE_FIRE if frames.RULES[rule] in SPIKING else layout.LOGISTIC
    rows = layout.LAYERS_AT + layout.LAYER_WORDS * n_layers
    _need(0 < n_layers <= (len(head) - layout.LAYERS_AT) // layout.LAYER_WORDS, layout.N_LAYERS)
    n_weights = 0
    n_signals = n_sensors
    n_signs = 0
    n_units = 0
    table = bool(unit_words)
    expected = n_sensors
    for at in range(layout.LAYERS_AT, rows, layout.LAYER_WORDS):
        n_in = head[at + layout.N_IN]
        n_out = head[at + layout.N_OUT]
        own = head[at + layout.RECURRENT]
        _need(0 < n_out <= mem_words, at + layout.N_OUT)
        _need(own in (0, n_out), at + layout.RECURRENT)
        _need(n_in == expected + own, at + layout.N_IN)
        kind = head[at + layout.ACTIVATION]
        _need(layout.IDENTITY <= kind <= last_kind, at + layout.ACTIVATION)
        _need(0 <= head[at + layout.BIAS_SHIFT] <= layout.NO_BIAS, at + layout.BIAS_SHIFT)
        for shift in (layout.PRODUCT_SHIFT, layout.DRIVE_SHIFT, layout.INPUT_FRAC):
            _need(0 <= head[at + shift] < 31, at + shift)
        _need(head[at + layout.PRODUCT_SHIFT] <= head[at + layout.INPUT_FRAC], at + layout.PRODUCT_SHIFT)
        table = table or kind in (layout.TANH, layout.LOGISTIC)
        n_weights += (n_in + 1) * n_out
        n_signals += own + n_out
        n_signs += (n_out + 15) // 16
        n_units += n_out
        _need(n_weights <= mem_words, at + layout.N_OUT)
        expected = n_out
    _need(expected == n_actuators, rows - layout.LAYER_WORDS + layout.N_OUT)
    _need(head[layout.N_WEIGHTS] == n_weights, layout.N_WEIGHTS)
    _need(n_weights <= mem_words - n_signals, layout.N_WEIGHTS)
    if bits:
        _need(0 <= head[layout.SIGNS_AT] <= mem_words - n_signs, layout.SIGNS_AT)
    if keeps_velocity(rule, head[layout.TAU], head[layout.MOMENTUM_SHIFT]):
        eligibility += 1
    if frames.RULES[rule] in WITH_VELOCITY and head[layout.CODE] != layout.RANDOM_SIGNS:
        if bits:
            _need(n_signs <= MOST_SIGN_WORDS, layout.CODE)
        elif head[layout.CODE] == layout.ONE_AT_A_TIME:
            _need(head[layout.CODE_STEP] < 2 * n_weights, layout.CODE_STEP)
    if eligibility:
        _need(rows <= head[layout.ELIGIBILITY_AT] <= len(head) - eligibility * n_weights, layout.ELIGIBILITY_AT)
    _need(0 <= head[layout.UNITS_AT] <= mem_words - unit_words * n_units, layout.UNITS_AT)
    _need(0 <= head[layout.SYNAPSES_AT] <= mem_words - synapse_words * n_weights, layout.SYNAPSES_AT)
    if table:
        _need(0 <= head[layout.TABLE_AT] <= mem_words - layout.TABLE_WORDS, layout.TABLE_AT)
    for at, low, high in RANGES + OWN_RANGES[rule]:
        _need(low <= head[at] <= high, at)
