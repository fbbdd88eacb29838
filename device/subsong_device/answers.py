"""Known answers: small learners and tasks, played on a tier's kernels and compared with what the host computed.

known_answers.bin holds set-ups and answers; what the kernels are fed is drawn here. The host writes the file by playing
the same cases with this module (subsong.known_answers).

    tanh table      128 words: tanh of 1/16, 2/16, ...
    then cases      CASE; for a learner its words of head from ESTIMATOR to SPREAD_SHIFT and 8 bytes a layer, for a task
                    its block
    each followed   by TRIAL, as often as it says
"""

from struct import calcsize, unpack_from

from subsong_device.frames import crc32
from subsong_device.layout import (
    ANNEAL,
    ANNEALED,
    COST,
    COST_LIMIT,
    ESTIMATOR,
    EVALUATE,
    LAYER_WORDS,
    LAYERS_AT,
    LIMIT,
    MOST_SPREAD_FRAC,
    N_IN,
    N_LAYERS,
    N_OUT,
    N_WEIGHTS,
    ONE_RATE,
    PHASE,
    RECURRENT,
    SPREAD_FRAC,
    SPREAD_SHIFT,
    SYNAPSES_AT,
    TABLE_AT,
    TABLE_WORDS,
    TASK_INPUTS,
    TASK_OUTPUTS,
)
from subsong_device.link import shared_buffer

FILE = "known_answers.bin"
# A learner's: rule, layers, trials, scale of its weights, words of head, words of mem, seed.
# A task's: TASKS, 0, trials, 0, words of its block, 0, seed; then its block. In its trials, `evaluate` is 2 for the
# second of a pair.
CASE = "<BBBbHHH"
TRIAL = "<BBbbiI"  # evaluate, steps, scale of sensors (outputs), of costs, cost, answer
TASKS = 0xFF
TABLE_BYTES = 256
SCALARS = ANNEAL - ESTIMATOR
GUARDS = 2  # words behind every buffer, which no kernel may touch


def differing(load):
    """Return where kernels compute something else than the known answers; "" if nowhere.

    Args:
        load: returns (learner, tasks) for the index of a rule.
    """
    with open(__file__.rsplit("/", 1)[0] + "/" + FILE, "rb") as file:
        data = file.read()
    for case, trial, got, expected in play(data, load):
        if got != expected:
            return "case %d, trial %d of the known answers: %08x instead of %08x" % (case, trial, got, expected)
    return ""


def play(data, load):
    """Yield (case, trial, what the kernels compute, what is expected) for every trial."""
    at = TABLE_BYTES
    case = 0
    kernels = loaded = None
    while at < len(data):
        fields = unpack_from(CASE, data, at)
        at += calcsize(CASE)
        rule = fields[0]
        if rule != loaded:
            kernels = None  # one rule's at a time
            kernels = load(0)[1] if rule == TASKS else load(rule)[0]
            loaded = rule
        if rule == TASKS:
            player = Task(kernels, data, at, fields[4], fields[6])
            at += 2 * fields[4]
        else:
            player = Learner(kernels, data, at, *fields[1:])
            at += 2 * SCALARS + LAYER_WORDS * fields[1]
        for trial in range(fields[2]):
            words = unpack_from(TRIAL, data, at)
            at += calcsize(TRIAL)
            yield case, trial, player.trial(*words[:-1]), words[-1]
        case += 1


class Words:
    """Marsaglia's 16-bit xorshift (7, 9, 8), the same words on every engine."""

    def __init__(self, seed):
        self._word = seed

    def draw(self, scale, low, high):
        """Return a signed word times 2**scale, kept in low..high; below a scale of -15: 0."""
        w = self._word
        w ^= (w & 0x1FF) << 7
        w ^= w >> 9
        w ^= (w & 0xFF) << 8
        self._word = w
        v = (w ^ 0x8000) - 0x8000
        if scale < -15:
            v = 0
        return max(low, min(high, v << scale if scale >= 0 else v >> (0 - scale)))

    def fill(self, buffer, n, scale):
        """Fill the first n words of a buffer."""
        for i in range(n):
            buffer[i] = self.draw(scale, -0x8000, 0x7FFF) & 0xFFFF


def guarded(code, n):
    """Return n words and a guard behind them, as kernels take them, and the same as bytes."""
    words, view = shared_buffer(code, (2 if code == "H" else 4) * (n + GUARDS))
    for i in range(n, n + GUARDS):
        words[i] = 0x5A5A
    return words, view


class Learner:
    """A learner of a case; its set-up lies in data from `at` on."""

    def __init__(self, kernels, data, at, layers, _trials, scale, head_words, mem_words, seed):
        self._kernels = kernels
        self._words = words = Words(seed)
        self.head, self.head_bytes = head, _ = guarded("i", head_words)
        self.mem, self.mem_bytes = mem, _ = guarded("H", mem_words)
        for i in range(SCALARS):
            head[ESTIMATOR + i] = data[at + 2 * i] | data[at + 2 * i + 1] << 8
        head[ANNEAL] = head[SPREAD_SHIFT] << 23
        head[SPREAD_FRAC] = MOST_SPREAD_FRAC
        head[ANNEALED] = ONE_RATE
        at += 2 * SCALARS
        for i in range(LAYER_WORDS * layers):
            head[LAYERS_AT + i] = data[at + i]
        for k in range(head[N_WEIGHTS]):
            w = words.draw(min(scale, 4), 0 - head[LIMIT], head[LIMIT])
            if scale > 4:  # +-2**scale
                w = 1 << scale if w > 0 else 0 - (1 << scale)
            mem[k] = w & 0xFFFF
        table = head[TABLE_AT]
        if table + TABLE_WORDS <= mem_words:
            mem[table + 128] = 0x8000
            for i in range(128):
                t = data[2 * i] | data[2 * i + 1] << 8
                mem[table + 129 + i] = 0x8000 + t
                mem[table + 127 - i] = 0x8000 - t
        for k in range(head[SYNAPSES_AT], mem_words):
            mem[k] = words.draw(-2, 0 - 0x8000, 0x7FFF) & 0xFFFF
        self._n_sensors = head[LAYERS_AT + N_IN] - head[LAYERS_AT + RECURRENT]
        self._x, _ = guarded("H", self._n_sensors)
        self._u, self._u_bytes = guarded("H", head[LAYERS_AT + (head[N_LAYERS] - 1) * LAYER_WORDS + N_OUT])

    def trial(self, evaluate, steps, x_scale, cost_scale, cost):
        """Play a trial; return a checksum over all that its kernels may write."""
        kernels, head, mem, words = self._kernels, self.head, self.mem, self._words
        head[EVALUATE] = evaluate
        head[COST] = 0
        kernels.begin(head, mem)
        for _ in range(steps):
            words.fill(self._x, self._n_sensors, x_scale)
            kernels.act(head, mem, self._x, self._u)
            c = cost + words.draw(cost_scale, 0 - COST_LIMIT, COST_LIMIT)
            head[COST] = max(0 - COST_LIMIT, min(COST_LIMIT, c))
        kernels.end(head, mem)
        return crc32(self.head_bytes) ^ crc32(self.mem_bytes) ^ crc32(self._u_bytes)


class Task:
    """An on-board task of a case; its block lies in data from `at` on."""

    def __init__(self, kernels, data, at, n, seed):
        self._kernels = kernels
        self._words = Words(seed)
        self._task, self._task_bytes = task, view = guarded("H", n)
        for i in range(2 * n):
            view[i] = data[at + i]
        self._head, _ = guarded("i", LAYERS_AT)
        self._x, self._x_bytes = guarded("H", task[TASK_INPUTS])
        self._n_out = task[TASK_OUTPUTS]
        self._u, _ = guarded("H", self._n_out)

    def trial(self, evaluate, steps, u_scale, _cost_scale, _cost):
        """Play some steps; return a checksum over all that came."""
        kernels, task = self._kernels, self._task
        check = 0
        self._head[EVALUATE] = evaluate & 1
        self._head[PHASE] = evaluate >> 1
        kernels.task_begin(self._head, task)
        for _ in range(steps):
            kernels.task_sense(task, self._x)
            self._words.fill(self._u, self._n_out, u_scale)
            cost = kernels.task_cost(task, self._u)
            check = (check * 5 + cost ^ crc32(self._x_bytes)) & 0xFFFFFFFF
        return check ^ crc32(self._task_bytes)
