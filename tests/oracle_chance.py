"""docs/arithmetic.md's rules whose chance is in units and synapses: what they do is drawn, nothing is added to it."""

from oracle_parts import HOT, Layer, clip, faded, logistic, within
from oracle_perturbation import NodePerturbation
from subsong_device import layout


class Chance(NodePerturbation):
    """What these rules share: the update of node perturbation, and an eligibility of factors."""

    estimators = (layout.RUNNING_BASELINE, layout.EACH_STEP)
    activations = (layout.LOGISTIC,)
    amplitudes = range(1)
    signs_units = False
    coded = False

    def _draw_signs(self) -> None:
        """Draw nothing before the network runs."""

    def _xi(self, k: int, i: int) -> int:  # noqa: ARG002  nothing is added to a drive
        return 0

    def _number(self, k: int, i: int) -> int:
        """Return a unit's number over all layers."""
        return sum(layer.n_out for layer in self.layers[:k]) + i

    def _chance(self) -> int:
        """Draw 15 bits."""
        return self.perturbation.draw() >> 1


class Reinforce(Chance):
    """Bernoulli-logistic units."""

    rule = "reinforce"
    activations = (layout.LOGISTIC, layout.TANH)
    unit_words = 1  # its factor

    def _assert_formats(self) -> None:
        super()._assert_formats()
        self.input_shift = self.own_words[0]
        assert self.input_shift in range(16)

    def _output(self, k: int, i: int, g: int) -> int:
        p = logistic(g, self.table)
        assert 11 <= p <= 32756
        d = self._chance() if self.sign else 16383
        self.units[self._number(k, i)] = 32768 - p if d < p else -p
        if d < p:
            return 32767
        return 0 if self.layers[k].activation == layout.LOGISTIC else -32767

    def _grown(self, k: int, i: int, layer: Layer) -> list[int]:
        s, factor = self.input_shift, self.units[self._number(k, i)]
        return [factor * ((x + (2**s >> 1)) >> s) for x in self._inputs(k)] + [factor * (2**layer.input_frac >> s)]

    def _fraction(self, layer: Layer) -> int:
        return layer.input_frac + 15 - self.input_shift


class StochasticSpiking(Chance):
    """Units that spike by chance, and are heard as filtered trains."""

    rule = "stochastic_spiking"
    unit_words = 3  # train, factor, phi

    def _assert_formats(self) -> None:
        super()._assert_formats()
        self.input_shift, self.peak_shift, self.filter_shift, self.spike, _ = self.own_words
        assert self.input_shift in range(16)
        assert self.spike == min(max(round(2.0 ** (15 + self.peak_shift - self.filter_shift)), 1), 32767)

    def _begin(self) -> None:
        super()._begin()
        self.units = [0] * len(self.units)

    def _output(self, k: int, i: int, g: int) -> int:
        f = logistic(g, self.table)
        p = f >> self.peak_shift
        at = 3 * self._number(k, i)
        if self.sign:
            spikes = self._chance() < p
            a, factor = (self.spike, 32768 - p) if spikes else (0, -p)
        else:
            a, factor = (self.spike * p) >> 15, -p
        h = min(faded(self.units[at], self.filter_shift) + a, 32767)
        assert h >= 0
        self.units[at : at + 3] = [h, factor, 32768 - f]
        return h

    def _grown(self, k: int, i: int, layer: Layer) -> list[int]:
        s = self.input_shift
        _, factor, phi = self.units[3 * self._number(k, i) :][:3]
        slopes = [within(phi * x, HOT) >> 15 for x in [*self._inputs(k), 2**layer.input_frac]]
        return [within(factor * ((slope + (2**s >> 1)) >> s), HOT) for slope in slopes]

    def _fraction(self, layer: Layer) -> int:
        return layer.input_frac + 15 - self.input_shift


class HedonisticSynapse(Chance):
    """Synapses that release by chance."""

    rule = "hedonistic_synapse"
    unit_words = 2  # of all units the potentials, then of all the trains
    synapse_words = 1  # strength

    def _assert_formats(self) -> None:
        super()._assert_formats()
        self.leak_shift, self.fire_at, self.filter_shift, self.spike, _ = self.own_words
        assert self.fire_at in range(1, 32768)
        assert self.spike == min(max(round(2.0 ** (15 - self.filter_shift)), 1), 32767)

    def _begin(self) -> None:
        super()._begin()
        self.units = [0] * len(self.units)

    def _step(self, x: list[int]) -> list[int]:
        if self.sign:
            self._fade()
            self.signals[0] = [32767 if self._chance() < v else 0 for v in x]
        else:
            self.signals[0] = [max(v, 0) for v in x]
        at = 0
        for k, layer in enumerate(self.layers):
            if layer.own:
                self.own[k] = list(self.signals[k + 1])
            x = [*self._inputs(k), 0 if layer.bias_shift == 31 else 32767]
            self.signals[k + 1] = []
            for i in range(layer.n_out):
                self.signals[k + 1].append(self._fire(self._number(k, i), layer, x, at))
                at += len(x)
        trains = self.units[self.n_units :]
        return trains[-self.layers[-1].n_out :]

    def _fire(self, number: int, layer: Layer, x: list[int], at: int) -> int:
        """Let a unit's synapses (from the at-th on) act, then the unit; return its output."""
        v = faded(self.units[number], self.leak_shift)
        for k, x_j in enumerate(x, at):
            if x_j == 0:
                continue
            q = within(self.weights[k] << (layer.input_frac - layer.product_shift), HOT) >> layer.drive_shift
            p = logistic(max(-32768, min(32767, q)), self.table)
            strength = self.synapses[k]
            if not self.sign:
                v += within(((strength * p) >> 15) * x_j, HOT) >> 15
            elif self._chance() < p:
                v += strength
                self.eligibility[k] = within(self.eligibility[k] + 32768 - p, 2**30)
            else:
                self.eligibility[k] = within(self.eligibility[k] - p, 2**30)
        clipped = clip(v, 32767)
        self.saturated += clipped != v
        fires = clipped >= self.fire_at
        self.units[number] = 0 if fires else clipped
        train = self.n_units + number
        self.units[train] = min(faded(self.units[train], self.filter_shift) + self.spike * fires, 32767)
        return 32767 if fires else 0

    def _fraction(self, layer: Layer) -> int:
        return layer.input_frac
