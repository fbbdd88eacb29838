"""Runs a learned policy without a host: started by a thin main.py, stopped by Ctrl-C, kept from starting by a pin.

What it drives is the board's own plant.py, a module of five functions (docs/deploy.md), through the guard that a run
with a host has, too; a policy that learned an on-board task runs that task instead.
"""

import os
import time

from subsong_device import faults, frames, plant_guard
from subsong_device.faults import Fault
from subsong_device.layout import COST, EVALUATE, PHASE
from subsong_device.link import shared_buffer
from subsong_device.plant_check import is_plant
from subsong_device.plant_guard import Guard, lacking, make_safe
from subsong_device.policy_file import SLOTS, PolicyError, read_latest

WHY = {  # what a guard's fault means: its detail goes into the words
    faults.SENSOR: "sensor %d left its range",
    faults.STUCK: "sensor %d no longer changes",
    faults.LATE: "a step, or reset(), took too long: %d ms",
    faults.PLANT: "safe() itself failed, in line %d of plant.py",
    faults.NO_WATCHDOG: "the board has no watchdog, or no timer to feed it by: %d",
    faults.PERIOD: "no step fitted the control period, by %d us on average",
}


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
    except Fault as fault:
        detail = fault.detail & 0xFFFF if fault.code == faults.PLANT else fault.detail
        print("policy: stopped,", WHY[fault.code] % detail)
    except KeyboardInterrupt:
        make_safe(plant)  # again: a second Ctrl-C may have come before the first one's make_safe began
        print("policy: stopped")


def start(plant, learn, save_every, save_s, trials):
    """Read the policy and run it on the plant, or on the task that it learned; the arguments are main()'s.

    Raises:
        PolicyError: it cannot be run.
    """
    block, run_id, header = read_latest()
    guard = None
    if is_plant(block.task) or not len(block.task):
        if plant is None:
            raise PolicyError("there is no plant.py for it to drive")
        if lacking(plant):
            raise PolicyError("plant.py lacks " + ", ".join(lacking(plant)))
        guard = Guard(plant, header.seed)
    print("policy: %s, %s; Ctrl-C stops it" % (frames.RULES[block.rule], "learning" if learn else "frozen"))
    keeper = Keeper(block, guard, run_id, header, save_every if learn else 0, save_s)
    try:
        run(block, guard, header.steps, learn, trials, keeper)
    finally:
        if guard is not None:
            guard.close()
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


class Keeper:
    """Keeps what a board learns: between trials, and with the plant safe, since writing flash stops everything.

    Args:
        block: block.Block.
        guard: of the plant, whose seeds go on where they were; None: a task.
        run: of the slots.
        header: checkpoint.Header of what the block was read from.
        every: trials between two saves; 0 never saves.
        save_s: seconds between two saves at least.
    """

    def __init__(self, block, guard, run, header, every, save_s):
        self._block = block
        self._guard = guard
        self._run = run
        self._steps = header.steps
        self._learned = header.trials
        self._every = every
        self._save_ms = 1000 * save_s
        self._since = 0
        self._saved = time.ticks_ms()

    def trial_ended(self):
        """Count a trial; save if it is time. A pair is saved whole: its first trial alone is of no use."""
        self._learned = (self._learned + 1) & frames.MAX_TRIAL
        self._since += 1
        if not self._every or self._since < self._every or self._block.head[PHASE]:
            return
        if time.ticks_diff(time.ticks_ms(), self._saved) >= self._save_ms:
            seed = self._guard.seed if self._guard is not None else 0
            try:
                SLOTS.save(self._block, self._run, self._steps, seed, self._learned, self._learned)
            except OSError as error:  # a full flash; what was saved before is there, and learning goes on
                print("policy: not saved,", error)
            self._since = 0
            self._saved = time.ticks_ms()


def run(block, guard, steps, learn, trials, keeper):
    """Run trials, one after the other.

    The two trials of a pair get the same seed. A trial ends after `steps` steps, or when the plant has a done() that
    returns true. Between trials the plant is safe.

    Args:
        block: the policy's block.Block.
        guard: of the plant; None: the block's own task is run.
        steps: of a trial, at most.
        learn: go on learning.
        trials: how many; 0: for ever.
        keeper: told of each.

    Raises:
        Fault: the guard stopped the plant.
        PolicyError: no tier computes the known answers.
    """
    from subsong_device.block import load_kernels
    from subsong_device.tiers import NoTier, choose

    try:
        learner, tasks = load_kernels(block.rule, choose())
    except NoTier as error:
        raise PolicyError(str(error))
    head, mem, task = block.head, block.mem, block.task
    if guard is not None:
        guard.start(task, block.n_sensors, block.n_actuators)
        tasks, task = plant_guard, guard
    x, _ = shared_buffer("H", 2 * block.n_sensors)
    u, _ = shared_buffer("H", 2 * block.n_actuators)
    sense, act, price = tasks.task_sense, learner.act, tasks.task_cost
    left = trials
    while True:
        head[EVALUATE] = 0 if learn else 1
        tasks.task_begin(head, task)
        learner.begin(head, mem)
        cost = 0
        for _ in range(steps):
            sense(task, x)
            head[COST] = cost
            act(head, mem, x, u)
            cost = price(task, u)
            if guard is not None and guard.ended():
                break
        if guard is not None:
            guard.finish()
        head[COST] = cost
        learner.end(head, mem)
        keeper.trial_ended()
        if guard is not None:
            guard.judge()
        left -= 1
        if left == 0:
            return
