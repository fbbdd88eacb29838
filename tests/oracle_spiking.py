"""docs/arithmetic.md's rules with integrate-and-fire units: conductance_perturbation and songbird."""

from oracle_base import NETWORK
from oracle_parts import HOT, Layer, within
from oracle_perturbation import NodePerturbation
from subsong_device import layout

POTENTIAL, ACTIVATION, REFRACTORY = range(3)  # words of a unit


class ConductancePerturbation(NodePerturbation):
    """Units whose drive is a conductance; a step has several ticks, perturbed anew each."""

    rule = "conductance_perturbation"
    activations = (*NETWORK, layout.INTEGRATE_FIRE)
    coded = False
    unit_words = 3

    def _assert_formats(self) -> None:
        super()._assert_formats()
        self.leak_shift, self.synapse_shift, self.spike_shift, self.refractory, last = self.own_words
        assert self.leak_shift in range(1, 13)
        assert self.synapse_shift in range(15)
        assert self.spike_shift in range(1, 15)
        assert self.refractory in range(256)
        assert last in range(11)
        self.tick_shift = last

    def _begin(self) -> None:
        super()._begin()
        self.units = [0] * len(self.units)

    def _step(self, x: list[int]) -> list[int]:
        self.signals[0] = x
        if self.sign:
            self._fade()
        for _ in range(2**self.tick_shift):
            if self.sign:
                self._draw_signs()
            self._run()
            if self.sign:
                self._accumulate()
        return list(self.signals[-1])

    def _xi(self, k: int, i: int) -> int:
        return super()._xi(k, i) if self.layers[k].activation == layout.INTEGRATE_FIRE else 0

    def _grown(self, k: int, i: int, layer: Layer) -> list[int]:
        xi = self._xi(k, i)
        return [xi * (x >> self.tick_shift) for x in [*self._inputs(k), 2**layer.input_frac]]

    def _output(self, k: int, i: int, g: int) -> int:
        if self.layers[k].activation != layout.INTEGRATE_FIRE:
            return super()._output(k, i, g)
        at = 3 * (sum(layer.n_out for layer in self.layers[:k]) + i)
        v, s, rest = self.units[at : at + 3]
        s -= (s + 2**self.synapse_shift - 1) >> self.synapse_shift
        if rest > 0:
            rest -= 1
        else:
            p = within(g * (16384 - v) if g > 0 else g * (4096 + v), HOT) >> 12
            v += (p - v + (2**self.leak_shift >> 1)) >> self.leak_shift
            if v >= 4096:
                v, s, rest = 0, min(s + (32768 >> self.spike_shift), 32767), self.refractory
            v = max(v, -4096)
        assert -4096 <= v <= 4095
        assert 0 <= s <= 32767
        self.units[at : at + 3] = [v, s, rest]
        return s


class Songbird(ConductancePerturbation):
    """One tick a step; LMAN holds its perturbation for several, and the eligibility fades after the tick."""

    rule = "songbird"

    def _assert_formats(self) -> None:
        super()._assert_formats()
        self.tick_shift, self.lman_shift = 0, self.own_words[-1]
        spiking = [layer.activation == layout.INTEGRATE_FIRE for layer in self.layers]
        assert spiking == [True] + [False] * (len(spiking) - 1)
        assert not any(layer.own for layer in self.layers)

    def _step(self, x: list[int]) -> list[int]:
        self.signals[0] = x
        if self.sign and self.steps % 2**self.lman_shift == 0:
            self._draw_signs()
        self._run()
        if self.sign:
            self._fade()
            self._accumulate()
        return list(self.signals[-1])
