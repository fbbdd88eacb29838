"""Keep if better, a control: random search that takes every step back which does not lower the cost.

The same perturbation of the weights as in weight perturbation, and the same one cost a trial. All that is learned from
that cost is one bit, so there is no rate and no eligibility; and what one lucky measurement gave stays the best for
ever.

    begin   draw xi; w += sigma xi
    act     measure: the plain network
    end     w -= sigma xi, unless the cost is the least so far

Sources: Rastrigin 1963 and Solis & Wets 1981 (random search); the integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.search import improved
from subsong_device.kernels.trial import actuate, open_trial, rewind, seal, sense
from subsong_device.kernels.update import move_along_signs, perturb_along_signs
from subsong_device.layout import AMPLITUDE, CHECK, LIMIT, N_WEIGHTS, SIGN


def begin(head: ptr32, mem: ptr16) -> int:
    """Draw this trial's signs and perturb the weights by +-AMPLITUDE.

    Scaling and overflow: |w| + AMPLITUDE <= 32767.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0:
        # The weights lie within +-LIMIT = 32767 - AMPLITUDE: nothing clips, so end() can take the perturbation back.
        perturb_along_signs(head, mem, head[AMPLITUDE])
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u with the perturbed weights.

    Scaling and overflow: those of kernels.network.forward.
    """
    sense(head, mem, x)
    at = forward(head, mem, 0)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Take the perturbation back, unless the trial cost less than every one before it.

    Scaling and overflow: |w| + AMPLITUDE < 2**16. Weights that are kept are brought within +-LIMIT by the same loop.
    """
    better = improved(head)
    if head[SIGN] != 0:
        back = head[AMPLITUDE]
        if better != 0:
            back = 0
        rewind(head)
        move_along_signs(head, mem, 0 - back, head[LIMIT])
    if better != 0:
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
