"""Run and tumble, a control: go on along one random direction while the cost falls, then take another.

So does a bacterium swim towards food: it runs, and tumbles to a new direction where things get no better. A step that
did not lower the cost is taken back here, as in Bremermann and Anderson's "chemotaxis algorithm". A bacterium cannot do
that: the last, bad step of each of its runs stays, which cost XOR twice the trials, and a swinging pole ten times.

    begin   w += sigma xi, where xi is drawn anew, or drawn again after a step that was kept
    act     measure: the plain network
    end     keep the step and rewind to its signs, if the cost is the least so far; else take it back

Sources: Berg & Brown 1972 (the bacterium); Bremermann & Anderson 1989, 1991; Anderson 1993 (weights of a network); the
integer form is docs/arithmetic.md's.
"""

from subsong_device.kernels.checksum import fold_words
from subsong_device.kernels.network import forward, rest
from subsong_device.kernels.search import improved
from subsong_device.kernels.trial import actuate, open_trial, rewind, seal, sense
from subsong_device.kernels.update import move_along_signs, perturb_along_signs
from subsong_device.layout import AMPLITUDE, CHECK, LIMIT, N_WEIGHTS, SIGN


def begin(head: ptr32, mem: ptr16) -> int:
    """Move the weights by +-AMPLITUDE along the signs that come next: the last trial's if it was kept, else new ones.

    Scaling and overflow: |w| + AMPLITUDE <= 32767.
    """
    sign = open_trial(head)
    rest(head, mem)
    if sign != 0:
        # The weights lie within +-LIMIT = 32767 - AMPLITUDE: nothing clips, so end() can take the step back.
        perturb_along_signs(head, mem, head[AMPLITUDE])
    return 0


def act(head: ptr32, mem: ptr16, x: ptr16, u: ptr16) -> int:
    """Map sensor words x to actuator words u with the moved weights.

    Scaling and overflow: those of kernels.network.forward.
    """
    sense(head, mem, x)
    at = forward(head, mem, 0)
    return actuate(head, mem, at, u)


def end(head: ptr32, mem: ptr16) -> int:
    """Run on, or take the step back and tumble.

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
        rewind(head)
        head[CHECK] = fold_words(head[CHECK], mem, 0, head[N_WEIGHTS])
    seal(head)
    return 0
