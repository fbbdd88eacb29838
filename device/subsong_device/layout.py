"""Where everything lies in a learner's two buffers; docs/arithmetic.md is the normative text.

head: array('i'), int32 words      mem: array('H'), 16-bit words
    0..42   scalars, below             weights, row after row: n_in weights, then the bias
    43..    one row of 8 a layer       signals: every layer's inputs, a recurrent one's own last outputs
    then    eligibility (int32)            behind them; then the outputs of the last
            (most rules)               signs of the drives' perturbation, one bit a unit; or words of units (some rules)
    then    velocity (int32)           tanh table, 257 words (where a layer needs it)
                                       words of synapses (some rules)
"""

ARITHMETIC_VERSION = 4

# Set by the caller before a kernel runs.
COST = 0  # cost of the last step, counts; 0 before the first
EVALUATE = 1  # 1: the trial perturbs nothing and changes no state

# What a trial leaves behind.
STEPS = 2
TOTAL = 3  # sum of costs, saturating at +-2**28
BASELINE = 4  # what the next perturbed trial is compared with
CHECK = 5  # 28-bit checksum of the trial
SATURATED = 6  # drives and weights clipped in this trial

# Configuration, written by the host and never changed.
ESTIMATOR = 7
AMPLITUDE = 8  # weight LSBs, or drive LSBs (2**-12)
RATE = 9
RATE_SHIFT = 10
BASELINE_SHIFT = 11
STOCHASTIC = 12  # 1: stochastic rounding; 0: to nearest
N_LAYERS = 13
N_WEIGHTS = 14  # biases included
SIGNALS_AT = 14  # offset in mem: behind the weights, with which mem begins
LIMIT = 15  # weights are kept in +-LIMIT
SIGNS_AT = 16  # offsets in mem
TABLE_AT = 17
ELIGIBILITY_AT = 18  # offset in head

# State of the estimator.
PHASE = 19  # 0: first trial of a pair; 1: the second
STARTED = 20  # 1 once the running baseline has a value
REMAINDER = 21  # the running baseline's fraction, in 2**-BASELINE_SHIFT counts
SIGN = 22  # of this trial's perturbation: +1, -1, or 0 for none
DELTA = 23  # cost minus baseline of the trial that ended; divided by SPREAD where an update is due

# Generators: two 16-bit words a stream, in head so that a rewind is two assignments.
PERTURBATION = 24
REWIND = 26  # where this trial's (or pair's) perturbation began
ROUNDING = 28

UNITS_AT = 30  # offset in mem of the words that a rule keeps for each unit
SYNAPSES_AT = 31  # offset in mem of the words that a rule keeps for each weight
TRACE_SHIFT = 32  # EACH_STEP: a step fades the eligibility by 2**-TRACE_SHIFT of itself
# The cost difference over its own running spread, and a rate that falls (kernels/spread.py).
SPREAD_SHIFT = 38  # the spread moves 2**-SPREAD_SHIFT of the way to each |DELTA|; 0: DELTA is taken as it is
ANNEAL = 39  # what an update takes off ANNEALED; 0: nothing
SPREAD = 40  # state: running mean of |DELTA|, 1 LSB = 2**-SPREAD_FRAC counts; 0: none yet
SPREAD_FRAC = 41  # state: 0..28
ANNEALED = 42  # state: factor on the rate, 1 LSB = 2**-28, from 1 down to 1/16
# 33..37 are the rule's own; its file names them.
OWN = 33

# hebb, and every rule whose factors are words of 15 fraction bits.
INPUT_SHIFT = 33  # of an input before it is multiplied by a factor, so that eligibilities stay within 2**30
# weight_perturbation, node_perturbation (kernels/codes.py, kernels/velocity.py)
CODE = 33  # of the perturbation: RANDOM_SIGNS, WALSH_HADAMARD or ONE_AT_A_TIME
CODE_STEP = 34  # state: where in the code's period
TAU = 35  # the weights move once in so many updates
WAITING = 36  # state: updates gathered in the velocity since they moved
MOMENTUM_SHIFT = 37  # a move takes 2**-MOMENTUM_SHIFT off the velocity; 0: all of it
# conductance_perturbation, songbird (kernels/integrate_fire.py).
SPIKING_WORDS = 3  # words of a unit at UNITS_AT: potential, synaptic activation, refractory ticks
LEAK_SHIFT = 33  # a tick brings a potential 2**-LEAK_SHIFT of the way to rest
SYNAPSE_SHIFT = 34  # and takes 2**-SYNAPSE_SHIFT of a synaptic activation off it
SPIKE_SHIFT = 35  # a spike adds 2**-SPIKE_SHIFT to it
REFRACTORY = 36  # ticks that a unit rests after a spike
TICK_SHIFT = 37  # conductance_perturbation: a step has 2**TICK_SHIFT ticks
LMAN_SHIFT = 37  # songbird: LMAN draws anew every 2**LMAN_SHIFT steps
# stochastic_spiking
PEAK_SHIFT = 34  # a unit's probability to spike in a step is at most 2**-PEAK_SHIFT
# hedonistic_synapse: LEAK_SHIFT and
FIRE_AT = 34  # the potential at which a unit fires, 1 LSB = 2**-12
STRENGTH = 37  # the synapses' strengths are uniform in +-STRENGTH, 1 LSB = 2**-12
# stochastic_spiking, hedonistic_synapse (kernels/spiking.py)
FILTER_SHIFT = 35  # a step takes 2**-FILTER_SHIFT of a filtered spike train off it
SPIKE = 36  # what a spike adds to it

LAYERS_AT = 43
LAYER_WORDS = 8
# Within a layer's row.
N_IN = 0
N_OUT = 1
ACTIVATION = 2
PRODUCT_SHIFT = 3  # products are shifted before they are summed
BIAS_SHIFT = 4  # of the bias, to the format of a shifted product; NO_BIAS: the layer has none
DRIVE_SHIFT = 5
INPUT_FRAC = 6  # fraction bits of the layer's input signals
RECURRENT = 7  # how many of the n_in inputs are the layer's own outputs of the step before: n_out, or 0

NO_BIAS = 31

RUNNING_BASELINE = 0
UNPERTURBED_TRIAL = 1
TWO_SIDED = 2
EACH_STEP = 3  # every step's cost against the running mean of such costs; the eligibility fades
BEST_SO_FAR = 4  # a trial's cost against the least that any trial had: for rules that keep or take back
PERTURBED_PAIR = 5  # two trials, each perturbed anew: the second's cost against the first's

RANDOM_SIGNS = 0
WALSH_HADAMARD = 1
ONE_AT_A_TIME = 2

IDENTITY = 0
HARD_TANH = 1
TANH = 2
LOGISTIC = 3
INTEGRATE_FIRE = 4  # spiking units, of the rules that have words for them

COST_LIMIT = 0x10000000
SPREAD_TOP = 0x10000000  # SPREAD is doubled while it is below this and SPREAD_FRAC below that
MOST_SPREAD_FRAC = 28
ONE_RATE = 0x10000000  # ANNEALED, as it begins
LEAST_RATE = 0x1000000
ONE_DRIVE = 4096
TABLE_WORDS = 257

# On-board tasks (tasks.py): a block of 16-bit words.
TASK_KIND = 0
TASK_INPUTS = 1
TASK_OUTPUTS = 2
TASK_ERROR_SHIFT = 3  # brings an error of the outputs to 1 LSB = 2**-12
TASK_NEXT = 4  # where the trial is: a pattern, a step
TASK_START = 5  # where it began: the second trial of a pair begins there, too
TASK_RESUME = 6  # where learning goes on after an evaluation
TASK_EVALUATING = 7  # 1: the last trial was an evaluation
TASK_COUNT = 8  # how many there are of what NEXT counts
TASK_DATA = 9  # patterns, and whatever else a kind keeps
# The kinds that draw keep two 16-bit words a stream there first.
TASK_STREAM = 9  # what trials draw, both of a pair the same
TASK_REWIND = 11  # where it was when the pair began
TASK_LEARNING = 13  # where learning goes on with it after an evaluation
TASK_SEED = 15  # where it is when evaluations begin
TASK_OWN = 17  # what else such a kind keeps

PATTERNS = 0
LINEAR_TEACHER = 1
LETTERS = 2
EXTENDED = 3
LQR = 4
DELAYED_MATCH = 5
SEQUENCE = 6
SONG = 7

# linear_teacher
TEACHER_NOISE = 17  # two words: the stream of the measurement noise
TEACHER_SIGNS = 19  # 1: inputs are random signs; 0: sums of coins
TEACHER_UNIT = 20  # a quarter of an input's standard deviation, in sensor words
TEACHER_PRODUCT_SHIFT = 21
TEACHER_DRIVE_SHIFT = 22
TEACHER_COST_SHIFT = 23
TEACHER_NOISE_SIZE = 24  # a quarter of the noise's standard deviation is SIZE * 2**SHIFT counts
TEACHER_NOISE_SHIFT = 25
TEACHER_DATA = 26  # targets of the step, then the teacher's weights, row after row

# letters
LETTERS_STRIDE = 9  # the next image's number is this much further
LETTERS_COST_SHIFT = 10
LETTERS_DATA = 11  # four targets, one after the other; then four glyphs of five rows of five bits
LETTERS_IMAGES = 44136

# extended
EXTENDED_COST_SHIFT = 9
EXTENDED_DATA = 10  # steps: inputs and targets

# lqr
LQR_START = 17  # the initial state is this times (heads - 32), in state words
LQR_NOISE = 18  # so is every step's perturbation of the state
LQR_Q = 19  # a state's squared word, in units of 2**13, costs LQR_Q * 2**-LQR_Q_SHIFT counts
LQR_Q_SHIFT = 20
LQR_STATE = 21  # sensor word and three fraction bits of each; then A - I, row after row; then room for new states

# delayed_match
MATCH_CUE_STEPS = 17
MATCH_PROBE_AT = 18  # step of the presentation at which the probe comes
MATCH_RESPONSE_AT = 19  # step from which on the output is judged
MATCH_SAME = 20  # target where the probe is the cue, and where it is not
MATCH_OTHER = 21
MATCH_CUE = 22  # of this presentation
MATCH_PROBE = 23
MATCH_TARGET = 24
MATCH_COST_SHIFT = 25

# sequence
SEQUENCE_CUE_STEPS = 17
SEQUENCE_CHOICE = 18  # of this presentation
SEQUENCE_COST_SHIFT = 19
SEQUENCE_DATA = 20  # for each choice, for each step after the cue: targets

# song
SONG_SPACING = 9  # steps between the bursts of one HVC neuron and the next
SONG_BURST = 10  # steps that a burst lasts
SONG_DELAY = 11  # steps by which costs come late
SONG_MUSCLE_SHIFT = 12  # a step brings the song 2**-SONG_MUSCLE_SHIFT of the way to the motor words
SONG_CEILING_SHIFT = 13  # the cost of a step is at most 2**28 >> SONG_CEILING_SHIFT
SONG_RING = 14  # which of the costs on their way is the next to come
SONG_TEMPLATE = 15  # TASK_COUNT * outputs words; then the song, outputs words; then costs, two words each
