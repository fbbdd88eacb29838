"""A plant.py for tests of safety. It notes how long after a cause its outputs were safe, by the board's own clock.

What happens to it is named in a file, "cases": one word for each time that it is imported since the board started.
The notes lie in a module that stays: subsong_device.faults.NOTES, (case, microseconds from the cause to safe()).
"""

import time

from subsong_device import faults, link

if not hasattr(faults, "NOTES"):
    faults.NOTES = []
with open("cases") as file:  # noqa: PTH123 - it runs on a board
    case = file.read().split()[len(faults.NOTES)]

AT = 5  # the step in which it happens
now = time.ticks_us
cause = None
step = 0


def note():
    global cause  # noqa: PLW0603 - a plant.py is a module, and its state the module's
    cause = now()


def until_safe():
    """Hang, until the outputs are safe; a second at most."""
    note()
    while cause is not None and time.ticks_diff(now(), cause) < 1000000:
        pass


def reset(seed):
    global step  # noqa: PLW0603
    step = 0


def sense(x):
    global step  # noqa: PLW0603
    step += 1
    for i in range(len(x)):
        x[i] = step + i
    if case == "mute":
        note()
    if step < AT:
        return
    if case == "stuck":
        note()
        x[0] = 7
    elif case == "range":
        note()
        x[1] = 20000
    elif case == "hang":
        until_safe()
    elif case == "ctrl-c":
        print("waiting")
        while True:
            note()


def actuate(u):
    if step == AT and case == "exception":
        note()
        raise ValueError("it broke")
    if step == AT and case == "actuate":
        until_safe()


def cost():
    return step


def safe():
    global cause  # noqa: PLW0603 - a plant.py is a module, and its state the module's
    if cause is not None:
        faults.NOTES.append((case, time.ticks_diff(now(), cause)))
        cause = None


if case == "silent":  # the cause is the last frame that the host has sent
    receive = link.Receiver.receive

    def noted(self, ms):
        kind = receive(self, ms)
        if kind:
            note()
        return kind

    link.Receiver.receive = noted
