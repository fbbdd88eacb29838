"""What every plant.py has to do, as checks that run wherever it runs: CPython, the unix board, a Pico.

    for line in complaints(plant, 2, 1, lambda: time.sleep_ms(20)): print(line)

Runs under MicroPython and CPython.
"""

import gc
from array import array

FUNCTIONS = ("reset", "sense", "actuate", "cost", "safe")
EXTREMES = (0, 1, 0xFFFF, 0x7FFF, 0x8000, 0x8001, 0x5555, 0xAAAA)
MOST_COST = 1 << 28
TOLERANCE = 512  # counts, between two starts from one seed: noise of a converter
STEPS = 50


def complaints(plant, n_sensors, n_actuators, wait, repeats=True):
    """Return what is wrong with a plant, a line each.

    Args:
        plant: the module.
        n_sensors: the words of sense().
        n_actuators: the words of actuate().
        wait: lets time pass, so that what is driven moves.
        repeats: whether reset() brings it to the start that the seed names.
    """
    missing = [name for name in FUNCTIONS if not callable(getattr(plant, name, None))]
    if missing:
        return ["lacks " + name for name in missing]
    found = []
    x, u = array("H", [0] * n_sensors), array("H", [0] * n_actuators)
    plant.safe()  # before the first reset: a session that ends early
    off(plant, "before reset()", found)
    starts = []
    for seed in (1, 2, 1, 0xFFFFFFFF):
        plant.reset(seed)
        plant.sense(x)
        starts.append(list(x))
        step(plant, x, u, 0x7FFF, found)
        wait()
        plant.safe()
        off(plant, "after reset(%d)" % seed, found)
    if repeats and differ(starts[0], starts[2]):
        found.append("reset(1) started from %s, then from %s" % (starts[0], starts[2]))
    if not differ(starts[0], starts[1]) and not differ(starts[0], starts[3]):
        found.append("every seed is the same")
    written(plant, x, found)
    for word in EXTREMES:
        step(plant, x, u, word, found)
        plant.safe()
        plant.safe()
        off(plant, "after actuate(0x%x), twice" % word, found)
    grown = growth(plant, x, u)
    plant.safe()
    if grown > 0:
        found.append("%d bytes more after %d steps" % (grown, STEPS))
    return found


def differ(one, other):
    """Whether words of two starts are further apart than a converter's noise; words count around."""
    return any(abs(((a - b + 0x8000) & 0xFFFF) - 0x8000) > TOLERANCE for a, b in zip(one, other))


def off(plant, when, found):
    """Whether the outputs are off, where a plant has one that says so."""
    pwm = getattr(plant, "pwm", None)
    if pwm is not None and pwm.duty_u16() != 0:
        found.append("on after safe(), " + when)


def written(plant, x, found):
    """Whether sense() fills every word: whatever was there before is not there any more."""
    plant.reset(1)
    seen = []
    for fill in (0x1234, 0x4321):
        for i in range(len(x)):
            x[i] = fill
        plant.sense(x)
        seen.append(list(x))
    for i in range(len(x)):
        if seen[0][i] == 0x1234 and seen[1][i] == 0x4321:
            found.append("sense() leaves x[%d] as it was" % i)


def step(plant, x, u, word, found):
    """Take a step with one word in every actuator; safe() in the midst of it harms nothing."""
    for i in range(len(u)):
        u[i] = word
    plant.sense(x)
    plant.safe()
    plant.actuate(u)
    if list(u) != [word] * len(u):
        found.append("actuate() changed its words")
    cost = plant.cost()
    if type(cost) is not int or not -MOST_COST <= cost <= MOST_COST:
        found.append("cost() returned %s" % (cost,))
    done = plant.done() if hasattr(plant, "done") else False
    if done not in (False, True):
        found.append("done() returned %s" % (done,))


def growth(plant, x, u):
    """Return how many bytes more the heap holds after some steps, garbage collected; 0 where nobody knows."""
    if not hasattr(gc, "mem_alloc"):
        return 0
    run(plant, x, u)
    gc.collect()
    before = gc.mem_alloc()
    run(plant, x, u)
    gc.collect()
    return gc.mem_alloc() - before


def garbage(plant, x, u):
    """Return how many bytes some steps allocate. MicroPython alone."""
    run(plant, x, u)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    run(plant, x, u)
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def run(plant, x, u):
    sense, actuate, cost = plant.sense, plant.actuate, plant.cost
    for _ in range(STEPS):
        sense(x)
        actuate(u)
        cost()
