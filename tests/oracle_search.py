"""docs/arithmetic.md's keep_if_better and run_and_tumble: a step of the weights is kept, or taken back."""

from oracle_base import Oracle
from oracle_parts import sign_of, sign_words, within
from subsong_device import layout


class KeepIfBetter(Oracle):
    """Another direction every trial."""

    rule = "keep_if_better"
    estimators = (layout.BEST_SO_FAR,)
    amplitudes = range(1, 4097)
    perturbs_weights = True

    def _signs(self) -> list[int]:
        words = sign_words(self.perturbation, len(self.weights))
        return [sign_of(words, k) for k in range(len(self.weights))]

    def _begin(self) -> None:
        if self.sign:
            for k, xi in enumerate(self._signs()):
                self.weights[k] = within(self.weights[k] + self.amplitude * xi, 32767)

    def _end(self, update: bool) -> None:
        if not self.sign:
            return
        self.perturbation = self.rewind.copy()
        for k, xi in enumerate(self._signs()):
            self._move(k, 0 if update else -self.amplitude * xi)


class RunAndTumble(KeepIfBetter):
    """The same direction once more where it was good."""

    rule = "run_and_tumble"

    def _end(self, update: bool) -> None:
        super()._end(update)
        if update:
            self.perturbation = self.rewind.copy()
