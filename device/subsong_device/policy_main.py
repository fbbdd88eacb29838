"""Runs a learned policy without a host: started by a thin main.py, stopped by Ctrl-C, kept from starting by a pin.

What it drives is the board's own plant.py, a module of five functions (docs/deploy.md); a policy that learned an
on-board task runs that task instead.
"""

import os
import time

from subsong_device import frames
from subsong_device.layout import COST, COST_LIMIT, EVALUATE, PHASE
from subsong_device.link import shared_buffer
from subsong_device.policy_file import SLOTS, PolicyError, read_latest


class TaskPlant:
    """An on-board task as a plant; it moves nothing."""

    def __init__(self, block):
        from subsong_device import tasks

        self._tasks = tasks
        self._head = block.head
        self._task = block.task
        self._cost = 0

    def reset(self, _seed):
        self._tasks.task_begin(self._head, self._task)

    def sense(self, x):
        self._tasks.task_sense(self._task, x)

    def actuate(self, u):
        self._cost = self._tasks.task_cost(self._task, u)

    def cost(self):
        return self._cost

    def safe(self):
        pass


def main(learn=False, skip_pin=None, save_every=100, save_s=60, trials=0):
    """Run the policy of policy.bin, with what it has learned since, until Ctrl-C.

    Args:
        learn: go on learning; else the policy is frozen.
        skip_pin: what machine.Pin takes; held low, the policy does not start. None: no such pin.
        save_every: trials between two saves of what was learned; 0 never saves.
        save_s: seconds between two saves at least, for the flash's sake.
        trials: stop after so many; 0 never stops.
    """
    why = skipped(skip_pin)
    if why:
        print("policy: not started,", why)
        return
    plant = None
    try:
        try:
            # Before the policy: whatever is wrong with that, the outputs are brought to safety.
            if "plant.py" in os.listdir():
                plant = __import__("plant")
            start(plant, learn, save_every, save_s, trials)
        finally:
            make_safe(plant)
    except PolicyError as error:
        print("policy: not started,", error)
    except KeyboardInterrupt:
        make_safe(plant)  # again: a second Ctrl-C may have come before the first one's make_safe began
        print("policy: stopped")


def start(plant, learn, save_every, save_s, trials):
    """Read the policy and run it on the plant, or on the task that it learned; the arguments are main()'s.

    Raises:
        PolicyError: it cannot be run.
    """
    block, run_id, header = read_latest()
    if len(block.task):
        plant = TaskPlant(block)
    elif plant is None:
        raise PolicyError("there is no plant.py for it to drive")
    print("policy: %s, %s; Ctrl-C stops it" % (frames.RULES[block.rule], "learning" if learn else "frozen"))
    keeper = Keeper(block, run_id, header, save_every if learn else 0, save_s)
    run(block, plant, header.steps, learn, trials, keeper)
    print("policy: done")


def skipped(skip_pin):
    """Return why the policy is not to start, or None."""
    if "SKIP" in os.listdir():
        return "there is a file named SKIP"
    if skip_pin is not None:
        try:
            from machine import Pin
        except ImportError:  # a MicroPython without pins
            return None
        if Pin(skip_pin, Pin.IN, Pin.PULL_UP).value() == 0:
            return "pin %s is held low" % skip_pin
    return None


def make_safe(plant):
    """Bring the plant's outputs to safety, however often Ctrl-C is pressed meanwhile."""
    while plant is not None:
        try:
            plant.safe()
            return
        except KeyboardInterrupt:
            pass


class Keeper:
    """Keeps what a board learns: between trials, and with the plant safe, since writing flash stops everything.

    Args:
        block: block.Block.
        run: of the slots.
        header: checkpoint.Header of what the block was read from.
        every: trials between two saves; 0 never saves.
        save_s: seconds between two saves at least.

    Attributes:
        seed: of the last trial's reset.
    """

    def __init__(self, block, run, header, every, save_s):
        self._block = block
        self._run = run
        self._steps = header.steps
        self._learned = header.trials
        self.seed = header.trial
        self._every = every
        self._save_ms = 1000 * save_s
        self._since = 0
        self._saved = time.ticks_ms()

    def trial_ended(self, plant):
        """Count a trial; save if it is time. A pair is saved whole: its first trial alone is of no use."""
        self._learned = (self._learned + 1) & frames.MAX_TRIAL
        self._since += 1
        if not self._every or self._since < self._every or self._block.head[PHASE]:
            return
        if time.ticks_diff(time.ticks_ms(), self._saved) >= self._save_ms:
            plant.safe()
            try:
                SLOTS.save(self._block, self._run, self._steps, self.seed, self._learned)
            except OSError as error:  # a full flash; what was saved before is there, and learning goes on
                print("policy: not saved,", error)
            self._since = 0
            self._saved = time.ticks_ms()


def run(block, plant, steps, learn, trials, keeper):
    """Run trials, one after the other.

    The two trials of a pair get the same seed. A trial ends after `steps` steps, or when the plant has a done() that
    returns true.
    """
    from subsong_device.block import load_kernels
    from subsong_device.tiers import NoTier, choose

    try:
        learner, _ = load_kernels(block.rule, choose())
    except NoTier as error:
        raise PolicyError(str(error))
    head, mem = block.head, block.mem
    x, _ = shared_buffer("H", 2 * block.n_sensors)
    u, _ = shared_buffer("H", 2 * block.n_actuators)
    sense, act, actuate, price = plant.sense, learner.act, plant.actuate, plant.cost
    done = getattr(plant, "done", None)
    left = trials
    while True:
        if not (learn and head[PHASE]):
            keeper.seed = (keeper.seed + 1) & frames.MAX_TRIAL
        head[EVALUATE] = 0 if learn else 1
        plant.reset(keeper.seed)
        learner.begin(head, mem)
        cost = 0
        for _ in range(steps):
            sense(x)
            head[COST] = cost
            act(head, mem, x, u)
            actuate(u)
            cost = min(max(price(), 0 - COST_LIMIT), COST_LIMIT)
            if done is not None and done():
                break
        head[COST] = cost
        learner.end(head, mem)
        keeper.trial_ended(plant)
        left -= 1
        if left == 0:
            return
