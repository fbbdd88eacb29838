"""Stands between a learner and the board's own plant.py: nothing reaches the outputs but what the guard lets through.

Outputs are made safe, by plant.safe(), when a sensor word leaves its range or no longer changes, when a step takes
longer than it may, between trials, and on every way out. Where MicroPython has timers, a step that is too long is
noticed while it lasts: by a timer's callback, which runs between two bytecodes and within every wait. docs/safety.md.

The functions at the end are what subsong_device.tasks has, so that a plant is to a trial what a task is.
"""

import gc
import os
import sys
import time

from subsong_device import plant_check
from subsong_device.faults import LATE, NO_PLANT, NO_WATCHDOG, PERIOD, PLANT, SENSOR, STUCK, Fault
from subsong_device.layout import COST_LIMIT, EVALUATE, PHASE
from subsong_device.link import shared_buffer
from subsong_device.plant_check import (
    ACTUATE,
    ACTUATOR_WORDS,
    DATA,
    DONE,
    EXCEPTIONS,
    FUNCTIONS,
    HIGHEST,
    IMPORT,
    LOWEST,
    MAKE_SAFE,
    NEEDED,
    PRICE,
    RESET,
    SAFE,
    SENSE,
    SENSOR_WORDS,
    SLEW,
    signed,
)
from subsong_device.plant_clock import Clock

FILE = "plant.py"
FEWEST_STEPS = 8  # of a trial that says that the period cannot be met, where every one of them is late


def load_plant():
    """Import plant.py, anew: it may have been replaced since it was last.

    Raises:
        Fault: NO_PLANT, where there is none, or functions are missing: a bit of the detail for each; PLANT, where
            importing it raises an exception.
    """
    if FILE not in os.listdir():
        raise Fault(NO_PLANT)
    sys.modules.pop("plant", None)
    try:
        plant = __import__("plant")
    except Exception as error:  # noqa: BLE001 - the file is the user's: whatever it raises is reported
        raise Fault(PLANT, detail_of(IMPORT, error))
    missing = lacking(plant)
    if missing:
        raise Fault(NO_PLANT, sum(1 << FUNCTIONS.index(name) for name in missing))
    return plant


def lacking(plant):
    """Return the names of the functions that plant.py should have and has not."""
    return [name for name in NEEDED if not hasattr(plant, name)]


def detail_of(function, error):
    """Return the detail of PLANT: an exception's number, the function's, the line."""
    name = type(error).__name__
    kind = EXCEPTIONS.index(name) if name in EXCEPTIONS else 0
    return kind << 24 | function << 16 | line_of(error)


def line_of(error):
    """Return the line of plant.py that an exception was raised from, the innermost; 0 if MicroPython does not say."""
    from io import StringIO

    if not hasattr(sys, "print_exception"):
        return 0
    text = StringIO()
    sys.print_exception(error, text)  # type: ignore[reportArgumentType] - the stub knows files only
    line = 0
    said: str = text.getvalue()  # type: ignore[reportAttributeAccessIssue] - likewise
    for letter in said.rpartition(FILE + '", line ')[2]:
        if not letter.isdigit():
            break
        line = 10 * line + int(letter)
    return line


def make_safe(plant):
    """Bring the plant's outputs to safety, however often Ctrl-C is pressed meanwhile; return whether it was."""
    pressed = False
    while hasattr(plant, "safe"):
        try:
            plant.safe()
            break
        except KeyboardInterrupt:
            pressed = True
    return pressed


def new_timer():
    """Return a timer whose callbacks run beside the program; None where MicroPython has none."""
    try:
        from machine import Timer

        return Timer(-1)
    except (ImportError, ValueError):
        return None


def still(_words):
    """Stand for actuate(), where nothing is to move."""


class Guard:
    """A plant, and what it may do.

    Args:
        plant: module with reset, sense, actuate, cost, safe and perhaps done.
        seed: the first trial resets the plant with the number after it.

    Attributes:
        seed: of the last learning trial's reset.
        where: which of the plant's functions is on, by its place in FUNCTIONS; 0: none.
        tripped: the outputs are safe and stay so until start().
        unsafe: Fault, PLANT, if safe() itself raised an exception; else None.
    """

    def __init__(self, plant, seed=0):
        self._plant = plant
        self._sense, self._actuate, self._cost = plant.sense, still, plant.cost
        self._done = getattr(plant, "done", None)
        self._clock = Clock()
        self._us, self._diff = time.ticks_us, time.ticks_diff  # looked up once
        self._first = self.seed = self._evaluated = seed
        self._timer = new_timer()
        self._armed = False
        self._dog = None
        self._dog_ms = 0
        self._limit = 0  # us that what is on may take; 0: nothing is on
        self._began = self._us()
        self._tick = self._on_tick  # bound once: a timer must not allocate
        self.where = 0
        self.tripped = False
        self.unsafe = None

    def start(self, words, n_sensors, n_actuators):
        """Take the settings, and begin a run.

        Args:
            words: array('H') of plant_check; empty: no limit of any kind, but that the plant is safe between trials.
            n_sensors: the network's inputs.
            n_actuators: its outputs.

        Raises:
            Fault: NO_WATCHDOG, where one is asked for and the board has none.
        """
        given = len(words) > 0
        self._dry = given and words[plant_check.DRY] == 1
        self._evaluated = self._first  # every evaluation meets the same starts
        self._clock.start(1000 * words[plant_check.PERIOD_MS] + words[plant_check.PERIOD_US] if given else 0)
        self._actuate = still if self._dry else self._plant.actuate
        self._step_ms = words[plant_check.STEP_MS] if given else 0
        self._reset_ms = words[plant_check.RESET_MS] if given else 0
        self._stuck = words[plant_check.STUCK_STEPS] if given and not self._dry else 0  # what rests may read the same
        at = DATA
        self._ranges = [(-32768, 32767)] * n_sensors
        for i in range(n_sensors if given else 0):
            self._ranges[i] = signed(words[at + LOWEST]), signed(words[at + HIGHEST])
            at += SENSOR_WORDS
        self._limits = [(-32768, 32767, 65535, 0)] * n_actuators
        for i in range(n_actuators if given else 0):
            low, high, safe = (signed(words[at + k]) for k in (LOWEST, HIGHEST, SAFE))
            self._limits[i] = low, high, words[at + SLEW], safe
            at += ACTUATOR_WORDS
        self._seen = [0] * n_sensors
        self._same = [0] * n_sensors
        self._now = [0] * n_actuators
        self._out, _ = shared_buffer("H", 2 * n_actuators)
        if given and words[plant_check.WATCHDOG_MS]:
            self._start_dog(words[plant_check.WATCHDOG_MS])
        self.where = 0
        self.tripped = False
        self.unsafe = None

    def rest(self):
        """Make the plant safe until the next trial. Raises KeyboardInterrupt: Ctrl-C was pressed meanwhile."""
        self._limit = 0
        if self._make_safe():
            raise KeyboardInterrupt

    def close(self):
        """Make the plant safe, and stop the timer. A watchdog cannot be stopped: it is fed no more."""
        self._limit = 0
        self._make_safe()
        if self._timer is not None and self._armed:  # deinit() of one that never ran is an error on some ports
            self._armed = False
            self._timer.deinit()

    def fault_of(self, error):
        """Make the plant safe; return the Fault for an exception that came out of it, None if it did not."""
        self._limit = 0
        self._make_safe()  # before the traceback is looked at, which takes milliseconds
        return Fault(PLANT, detail_of(self.where, error)) if self.where else None

    # ------------------------------------------------------------------------------------------ a trial

    def begin(self, head):
        """Reset the plant. Both trials of a pair have one seed; evaluations count theirs anew in every run."""
        if head[EVALUATE]:
            self._evaluated += 1
            seed = self._evaluated
        else:
            if not head[PHASE]:
                self.seed += 1
            seed = self.seed
        self._check()
        if self._clock.period:
            gc.collect()  # now, with the plant safe, rather than within a step: 14 ms on a Pico
        self._watch(self._reset_ms)
        if self._dry:
            self._make_safe()  # reset() may move things
        else:
            self.where = RESET
            self._plant.reset(seed)
            self.where = 0
        self._check()
        for i in range(len(self._now)):
            self._now[i] = self._limits[i][3]
        self._clock.begin()
        self._watch(self._step_ms)

    def sense(self, x):
        """Wait for the control period; fill the sensor words, and check them.

        Raises:
            Fault: SENSOR, STUCK, LATE; the plant is safe.
        """
        self._began = self._clock.next(self._check())
        self.where = SENSE
        self._sense(x)
        self.where = 0
        stuck, same, seen = self._stuck, self._same, self._seen
        for i in range(len(seen)):
            word = x[i]
            low, high = self._ranges[i]
            if not low <= (word ^ 0x8000) - 0x8000 <= high:
                self._trip()
                raise Fault(SENSOR, i)
            if stuck:
                if word == seen[i] and same[i]:
                    same[i] += 1
                    if same[i] > stuck:
                        self._trip()
                        raise Fault(STUCK, i)
                else:
                    seen[i] = word
                    same[i] = 1

    def step(self, u):
        """Put out the actuator words, within their limits; return the step's cost, held within +-2**28.

        How long it took is judged when the next step begins, or the trial ends.

        Raises:
            Fault: LATE; the plant is safe.
        """
        self._check()
        out, now = self._out, self._now
        for i in range(len(now)):
            low, high, slew, _ = self._limits[i]
            word = min(max((u[i] ^ 0x8000) - 0x8000, low), high)
            word = min(max(word, now[i] - slew), now[i] + slew)
            now[i] = word
            out[i] = word & 0xFFFF
        self.where = ACTUATE
        self._actuate(out)
        self._check()  # a timer may have made the plant safe while actuate() was on its way to do otherwise
        self.where = PRICE
        # What is no whole number raises: a cost in volts, cut to a whole one, would be 0 for ever.
        cost = min(max(self._cost() | 0, 0 - COST_LIMIT), COST_LIMIT)
        self.where = 0
        return cost

    def ended(self):
        """Return whether the plant ends the trial here."""
        if self._done is None:
            return False
        self.where = DONE
        done = self._done()
        self.where = 0
        self._check()
        return done

    def finish(self):
        """End a trial: the plant is safe until the next one.

        Raises:
            Fault: LATE, of the last step. KeyboardInterrupt: Ctrl-C was pressed meanwhile.
        """
        self._clock.end(self._check())
        self.rest()

    def timing(self):
        """Return T_TIME's fields of the trial that has ended, from `steps` on (plant_clock.Clock.told)."""
        return self._clock.told()

    def judge(self):
        """Raise Fault, PERIOD, if every step of the trial that has ended was late: the period cannot be met."""
        excess = self._clock.excess(FEWEST_STEPS)
        if excess:
            raise Fault(PERIOD, excess)

    # ------------------------------------------------------------------------------------------ time

    def _check(self):
        """Return the time; raise Fault: LATE, where what is on took too long; PLANT, where the plant is not safe."""
        if self.unsafe is not None:
            raise self.unsafe
        now = self._us()
        if self._limit or self.tripped:
            took = self._diff(now, self._began)
            if self.tripped or not 0 <= took <= self._limit:  # below 0: so long that the clock has gone round
                self._trip()
                raise Fault(LATE, took // 1000)
        return now

    def _trip(self):
        self.tripped = True
        self._make_safe()

    def _make_safe(self):
        try:
            return make_safe(self._plant)
        except Exception as error:  # noqa: BLE001 - reported once whoever asked for safety has got away
            self.unsafe = Fault(PLANT, detail_of(MAKE_SAFE, error))
            return False

    def _watch(self, limit):
        """Begin to count the time of what may take so many milliseconds."""
        self._began = self._us()
        self._limit = 1000 * limit
        if limit:
            self._arm(limit)

    def _arm(self, ms):
        if self._dog is not None:
            ms = min(ms, self._dog_ms // 4)
        timer = self._timer
        if timer is not None:
            self._armed = True
            timer.init(mode=timer.ONE_SHOT, period=max(ms, 1), callback=self._tick)

    def _on_tick(self, _timer):
        """Look at the time while something is on: once as long as it may last, and not at every step.

        The watchdog is fed as long as all is well: so it bites where callbacks no longer run, or a step does not end.
        """
        left = self._limit
        if left:
            left -= self._diff(self._us(), self._began)
            if left < 0:
                self._trip()  # again and again, as long as the step goes on: it may set outputs meanwhile
                left = self._limit
            left = (left + 999) // 1000
        if self._dog is not None:
            if not (self._limit and self.tripped):
                self._dog.feed()
            left = left or self._dog_ms
        if left or self._limit:
            self._arm(left)

    def _start_dog(self, ms):
        try:
            from machine import WDT
        except ImportError:
            raise Fault(NO_WATCHDOG)
        if self._timer is None:
            raise Fault(NO_WATCHDOG)
        if ms != self._dog_ms:
            self._dog_ms = ms
            self._dog = WDT(timeout=ms)
            self._arm(ms)


def task_begin(head, guard):
    """Begin a trial."""
    guard.begin(head)


task_sense = Guard.sense
task_cost = Guard.step
