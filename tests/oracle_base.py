"""A learner's block and its trials as docs/arithmetic.md has them; what the rules differ in, their classes fill in."""

import struct
from collections.abc import Iterator, Sequence

from oracle_parts import (
    COST,
    HOT,
    TABLE,
    Layer,
    Stream,
    clip,
    fold_int32,
    fold_int32s,
    fold_words,
    signed,
    unsigned,
    within,
)
from subsong_device import layout
from subsong_sim.learner import TrialSummary

ROWS = 43  # of head: where the layers' rows begin
NETWORK = (layout.IDENTITY, layout.HARD_TANH, layout.TANH, layout.LOGISTIC)
ORACLES: dict[str, "type[Oracle]"] = {}
PAIRS = (layout.UNPERTURBED_TRIAL, layout.TWO_SIDED, layout.PERTURBED_PAIR)


class Oracle:
    """A learner; see subsong_sim.learner.Learner. Its rules are the subclasses; `Oracle.of` picks one."""

    rule: str
    estimators: tuple[int, ...]
    activations: tuple[int, ...] = NETWORK
    amplitudes = range(1)  # what AMPLITUDE may be
    perturbs_weights = False
    # What it keeps: an eligibility a weight, a sign a unit, words a unit, words a weight; a code and a velocity.
    eligible = False
    signs_units = False
    unit_words = 0
    synapse_words = 0
    coded = False

    def __init_subclass__(cls) -> None:
        """Enter a rule into the table."""
        if "rule" in vars(cls):
            ORACLES[cls.rule] = cls

    @staticmethod
    def of(rule: str, head: bytes, mem: bytes) -> "Oracle":
        """Return the oracle of a rule over a block's bytes."""
        return ORACLES[rule](head, mem)

    def __init__(self, head: bytes, mem: bytes) -> None:
        h = list(struct.unpack(f"<{len(head) // 4}i", head))
        words = list(struct.unpack(f"<{len(mem) // 2}H", mem))
        self._head, self._mem = h, words
        self.cost, self.evaluate, self.steps, self.total, self.baseline, self.check, self.saturated = h[0:7]
        self.estimator, self.amplitude, self.rate, self.rate_shift = h[7:11]
        self.baseline_shift, stochastic, n_layers, n_weights, self.limit = h[11:16]
        self.stochastic = bool(stochastic)
        self.phase, self.started, self.remainder, self.sign, self.delta = h[19:24]
        self.trace_shift = h[32]
        self.own_words = h[33:38]
        self.spread_shift, self.anneal, self.spread, self.spread_frac, self.annealed = h[38:43]
        self.code, self.code_step, self.tau, self.waiting, self.momentum_shift = (
            self.own_words if self.coded else (0, 0, 1, 0, 0)
        )
        self.perturbation, self.rewind, self.rounding = Stream(*h[24:26]), Stream(*h[26:28]), Stream(*h[28:30])
        self.layers = [Layer(*h[ROWS + 8 * k : ROWS + 8 + 8 * k]) for k in range(n_layers)]
        self.trial = 0

        at = ROWS + 8 * n_layers
        assert h[layout.ELIGIBILITY_AT] == at
        assert n_weights == sum((layer.n_in + 1) * layer.n_out for layer in self.layers)
        self.eligibility = h[at : at + n_weights * self.eligible]
        self.velocity = h[at + len(self.eligibility) :]
        assert len(self.velocity) == n_weights * (self.tau > 1 or self.momentum_shift > 0)
        self._read_mem(words, n_weights)
        self._assert_formats()

    def _read_mem(self, words: list[int], n_weights: int) -> None:
        """Take mem apart, one part behind the other."""
        first = self.layers[0].n_in - self.layers[0].own
        rest = iter(words)
        left = [len(words)]  # of words behind the parts taken so far

        def take(n: int) -> list[int]:
            taken = [next(rest) for _ in range(n)]
            left.append(left[-1] - n)
            return taken

        def starts_here(offset: int) -> None:
            assert self._head[offset] == len(words) - left[-1]

        self.weights = [signed(w) for w in take(n_weights)]
        # signals[0] is the sensor words, signals[k + 1] what layer k puts out, own[k] what it put out the step before.
        self.signals = [[signed(w) for w in take(first)]]
        self.own: list[list[int]] = []
        for layer in self.layers:
            self.own.append([signed(w) for w in take(layer.own)])
            self.signals.append([signed(w) for w in take(layer.n_out)])
        starts_here(layout.SIGNS_AT)
        self.signs = [take((layer.n_out + 15) // 16 * self.signs_units) for layer in self.layers]
        starts_here(layout.UNITS_AT)
        self.n_units = sum(layer.n_out for layer in self.layers)
        self.units = [signed(w) for w in take(self.unit_words * self.n_units)]
        starts_here(layout.TABLE_AT)
        curved = any(layer.activation in (layout.TANH, layout.LOGISTIC) for layer in self.layers)
        self.table = take(257 if curved or self.unit_words else 0)
        assert self.table in ([], TABLE)
        starts_here(layout.SYNAPSES_AT)
        self.synapses = [signed(w) for w in take(self.synapse_words * n_weights)]
        assert left[-1] == 0, "mem holds more than the page says"

    def _assert_formats(self) -> None:
        assert self.rate in range(1, 16384)
        assert self.rate_shift in range(30)
        assert self.amplitude in self.amplitudes
        assert self.limit == 32767 - self.amplitude * self.perturbs_weights
        assert all(abs(w) <= self.limit for w in self.weights)
        first = self.layers[0]
        weight_frac = first.drive_shift - first.input_frac + first.product_shift + 12
        assert weight_frac in range(8, 15)
        assert self.trace_shift in range(15)
        assert self.spread_shift in range(16)
        assert 0 <= self.anneal <= 2**28
        assert self.estimator in self.estimators
        frac, size = 15, len(self.signals[0])
        for layer in self.layers:
            assert (layer.n_in, layer.input_frac) == (size + layer.own, frac)
            assert layer.activation in self.activations
            layer.assert_formats(weight_frac)
            frac, size = 12 if layer.activation == layout.IDENTITY else 15, layer.n_out

    # -- what the loop calls

    def begin(self, trial: int, evaluate: bool) -> None:
        """Start a trial."""
        self.trial, self.evaluate = trial, int(evaluate)
        self.steps = self.total = self.saturated = self.check = 0
        if evaluate or (self.estimator == layout.UNPERTURBED_TRIAL and self.phase == 0):
            self.sign = 0
        elif self.estimator == layout.TWO_SIDED and self.phase == 1:
            self.sign = -1
            self.perturbation = self.rewind.copy()
        else:
            self.sign = 1
            self.rewind = self.perturbation.copy()
        for k, layer in enumerate(self.layers):
            if layer.own:
                self.signals[k + 1] = [0] * layer.n_out
        self._begin()

    def act(self, cost: int, x: Sequence[int]) -> list[int]:
        """Take the last cost and the sensor words; return the actuator words."""
        self._take(cost)
        if self.estimator == layout.EACH_STEP and self.steps > 0 and not self.evaluate and self._due():
            self._learn()
        self.check = fold_words(self.check, [unsigned(v) for v in x])
        u = self._step([signed(unsigned(v)) for v in x])
        self.check = fold_words(self.check, [unsigned(v) for v in u])
        self.steps += 1
        assert self.steps <= 16384
        return u

    def end(self, cost: int) -> TrialSummary:
        """Take the last cost, update, and say what the trial was."""
        self._take(cost)
        update = not self.evaluate and self._due()
        self._end(update)
        if update:
            self.check = fold_int32s(self.check, self.velocity)
            self.check = fold_words(self.check, [unsigned(w) for w in self.weights])
        scalars = [self.steps, self.total, self.baseline, self.remainder, self.saturated]
        scalars = [self.spread, self.spread_frac, self.annealed] * (self.spread_shift > 0) + scalars
        scalars = [self.waiting] * bool(self.velocity) + scalars
        scalars = [self.code_step] * (self.code > 0) + scalars
        for stream in (self.perturbation, self.rewind, self.rounding):
            scalars += [stream.a, stream.b]
        for v in scalars:
            self.check = fold_int32(self.check, v)
        return TrialSummary(
            self.trial, bool(self.evaluate), self.steps, self.total, self.baseline, self.check, self.saturated, 0
        )

    def state(self) -> tuple[bytes, bytes]:
        """Return head and mem as bytes."""
        h = list(self._head)
        h[0:7] = [self.cost, self.evaluate, self.steps, self.total, self.baseline, self.check, self.saturated]
        h[19:24] = [self.phase, self.started, self.remainder, self.sign, self.delta]
        for at, stream in ((24, self.perturbation), (26, self.rewind), (28, self.rounding)):
            h[at : at + 2] = [stream.a, stream.b]
        if self.coded:
            h[33:38] = [self.code, self.code_step, self.tau, self.waiting, self.momentum_shift]
        h[40:43] = [self.spread, self.spread_frac, self.annealed]
        h[ROWS + 8 * len(self.layers) :] = self.eligibility + self.velocity
        runs = [self.weights, self.signals[0]]
        for own, outputs in zip(self.own, self.signals[1:], strict=True):
            runs += [own, outputs]
        words = [unsigned(v) for run in runs for v in run]
        words += [word for run in self.signs for word in run] + [unsigned(v) for v in self.units]
        words += self.table + [unsigned(v) for v in self.synapses]
        assert (len(h), len(words)) == (len(self._head), len(self._mem))
        return struct.pack(f"<{len(h)}i", *h), struct.pack(f"<{len(words)}H", *words)

    # -- what the rules share

    def _take(self, cost: int) -> None:
        self.cost = within(cost, COST)
        self.total = clip(self.total + cost, COST)
        self.check = fold_int32(self.check, cost)

    def _units(self) -> Iterator[list[list[int]]]:
        """Yield, layer after layer, the weights of every unit."""
        at = 0
        for layer in self.layers:
            size = layer.n_in + 1
            yield [self.weights[at + i * size : at + (i + 1) * size] for i in range(layer.n_out)]
            at += size * layer.n_out

    def _numbered(self) -> Iterator[tuple[int, int, int, Layer]]:
        """Yield every unit: its number over all layers, its layer's, its own there, the layer."""
        number = 0
        for k, layer in enumerate(self.layers):
            for i in range(layer.n_out):
                yield number, k, i, layer
                number += 1

    def _inputs(self, k: int) -> list[int]:
        """Return a layer's inputs: what the layer below puts out, then its own last outputs."""
        return self.signals[k] + self.own[k]

    def _run(self) -> None:
        """Run the network on signals[0]."""
        for k, (layer, units) in enumerate(zip(self.layers, self._units(), strict=True)):
            if layer.own:
                self.own[k] = list(self.signals[k + 1])
            drives = [self._drive(k, i, layer.drive(unit, self._inputs(k))) for i, unit in enumerate(units)]
            self.signals[k + 1] = [self._output(k, i, g) for i, g in enumerate(drives)]

    def _drive(self, k: int, i: int, g: int) -> int:
        """Return a unit's drive as it enters the activation, from what weights and inputs make of it."""
        xi = self._xi(k, i) if self.sign else 0
        if self.code == layout.ONE_AT_A_TIME:
            g = self._clip_drive(g)
        return self._clip_drive(g + self.sign * self.amplitude * xi)

    def _clip_drive(self, g: int) -> int:
        clipped = max(-32768, min(32767, within(g, HOT)))
        self.saturated += clipped != g
        return clipped

    def _output(self, k: int, i: int, g: int) -> int:  # noqa: ARG002  rules differ in this
        return self.layers[k].output(g, self.table)

    def _due(self) -> bool:
        """Compare; return whether an update is due, for which the difference is normalised."""
        due = self._compare()
        if due and self.spread_shift:
            self._normalise()
        return due

    def _normalise(self) -> None:
        """Divide the difference by its running spread, and take what is left of the rate into it."""
        m, s, frac = abs(self.delta), self.spread, self.spread_frac
        assert s in range(2**29 + 1)
        assert frac in range(29)
        c = next((c for c in range(frac) if m << c >= 2**28), frac)
        m, s = within(m << c, 2**29), s >> (frac - c)
        s = s or m
        z = min(4096 * m // s, 8192) if s else 0
        s = within(s + ((m - s) >> self.spread_shift), 2**29)
        rise = max(0, min(28 - c, 29 - s.bit_length())) if s else 0
        self.spread, self.spread_frac = within(s << rise, 2**29), c + rise
        z = within(z * (self.annealed >> 16), HOT) >> 12
        self.annealed = max(self.annealed - self.anneal, 2**24)
        assert self.annealed <= 2**28
        self.delta = within(-z if self.delta < 0 else z, 8192)

    def _compare(self) -> bool:
        """Compare the trial, or the step, with its baseline and move that on; return whether an update is due."""
        observed = self.cost if self.estimator == layout.EACH_STEP else self.total
        self.delta = within(observed - self.baseline, 2 * COST)
        if self.estimator in PAIRS:
            self.phase = 1 - self.phase
            if self.phase == 1:
                self.baseline = observed
            return self.phase == 0
        if self.estimator == layout.BEST_SO_FAR:
            better = not self.started or self.delta < 0
            if better:
                self.started, self.baseline = 1, observed
            return better
        if not self.started:
            self.started, self.baseline = 1, observed
            return False
        r = within(self.delta + self.remainder, HOT)
        self.baseline = within(self.baseline + (r >> self.baseline_shift), COST)
        self.remainder = r - ((r >> self.baseline_shift) << self.baseline_shift)
        assert 0 <= self.remainder < 2**self.baseline_shift
        return True

    def _threshold(self) -> int:
        """Draw a threshold; nearest rounding draws nothing and has one of its own."""
        if not self.stochastic:
            return 2**28
        high = self.rounding.draw()
        return ((high & 0x1FFF) << 16) | self.rounding.draw()

    def _move(self, k: int, by: int) -> None:
        """Add to a weight, saturating."""
        w = within(self.weights[k] + by, HOT)
        self.weights[k] = clip(w, self.limit)
        self.saturated += self.weights[k] != w

    # -- what the rules differ in

    def _begin(self) -> None:
        """Do what begin does after the sign is chosen and recurrent layers are at rest."""

    def _step(self, x: list[int]) -> list[int]:
        """Run a step on the sensor words, return the actuator words."""
        self.signals[0] = x
        self._run()
        return list(self.signals[-1])

    def _xi(self, k: int, i: int) -> int:  # noqa: ARG002  rules differ in this
        """Return the perturbation of a unit's drive, without the trial's sign: +1, -1 or 0."""
        return 0

    def _learn(self) -> None:
        """Update."""
        raise NotImplementedError

    def _end(self, update: bool) -> None:
        """Do what end does between comparing and the checksum."""
        raise NotImplementedError
