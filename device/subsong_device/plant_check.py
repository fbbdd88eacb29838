"""What the guard of a board's own plant is told (subsong_device.plant_guard), as 16-bit words, and whether it is sound.

The words take the place of a task's in a block: PLANT in TASK_KIND says so, TASK_INPUTS and TASK_OUTPUTS are as there.
"""

from subsong_device.faults import BLOCK, Fault
from subsong_device.layout import TASK_INPUTS, TASK_KIND, TASK_OUTPUTS

PLANT = 0x504C  # no task's number
PERIOD_MS = 3  # from one sense() to the next; 0: as fast as it goes
STEP_MS = 4  # what a step may take, from one sense() to the next
RESET_MS = 5  # what reset() may take
STUCK_STEPS = 6  # steps that a sensor word may stay what it is; 0: for ever
WATCHDOG_MS = 7  # 0: none
PERIOD_US = 8  # beyond PERIOD_MS
DRY = 9  # 1: nothing moves: reset() and actuate() are not called
DATA = 10  # a sensor's lowest and highest word, for each; then an actuator's four words, for each:
LOWEST, HIGHEST = 0, 1
SLEW = 2  # what it moves by in a step, at most: 65535 is no limit
SAFE = 3  # the word for what safe() and reset() put out: slew begins there
SENSOR_WORDS, ACTUATOR_WORDS = 2, 4

MAX_MS = 8000  # of a step, of reset() and of the watchdog: an RP2's counts to 8388
MIN_WATCHDOG_MS = 100

# What plant.py has, and may have; a function's number here is in the detail of a fault, 0 stands for importing it.
FUNCTIONS = ("import", "reset", "sense", "actuate", "cost", "safe", "done")
IMPORT, RESET, SENSE, ACTUATE, PRICE, MAKE_SAFE, DONE = range(7)
NEEDED = FUNCTIONS[RESET:DONE]
# What plant.py may raise, by its number in the same detail; what is not here is 0.
EXCEPTIONS = (
    "an exception",
    "ImportError",
    "ValueError",
    "TypeError",
    "OSError",
    "AttributeError",
    "NameError",
    "IndexError",
    "KeyError",
    "ZeroDivisionError",
    "OverflowError",
    "MemoryError",
    "AssertionError",
    "RuntimeError",
    "SyntaxError",
)


def signed(word):
    """Return what a word stands for, two's complement."""
    return (word ^ 0x8000) - 0x8000


def plant_words(n_sensors, n_actuators):
    """Return how many words there are."""
    return DATA + SENSOR_WORDS * n_sensors + ACTUATOR_WORDS * n_actuators


def is_plant(task):
    """Whether a block's task words, array('H'), are those of a plant's guard."""
    return len(task) > TASK_KIND and task[TASK_KIND] == PLANT


def check_plant(task, n_sensors, n_actuators):
    """Check every word.

    Args:
        task: array('H'), PLANT in TASK_KIND.
        n_sensors: the network's inputs.
        n_actuators: its outputs.

    Raises:
        Fault: BLOCK, its detail 65536 plus the word that is wrong.
    """
    _need(len(task) > DATA, 0)
    _need(task[TASK_INPUTS] == n_sensors, TASK_INPUTS)
    _need(task[TASK_OUTPUTS] == n_actuators, TASK_OUTPUTS)
    _need(0 < task[STEP_MS] <= MAX_MS, STEP_MS)
    _need(task[PERIOD_MS] < task[STEP_MS], PERIOD_MS)
    _need(task[PERIOD_US] < 1000, PERIOD_US)
    _need(task[DRY] <= 1, DRY)
    _need(0 < task[RESET_MS] <= MAX_MS, RESET_MS)
    _need(task[WATCHDOG_MS] == 0 or MIN_WATCHDOG_MS <= task[WATCHDOG_MS] <= MAX_MS, WATCHDOG_MS)
    _need(len(task) == plant_words(n_sensors, n_actuators), DATA)
    at = DATA
    for _ in range(n_sensors):
        _need(signed(task[at + LOWEST]) < signed(task[at + HIGHEST]), at)
        at += SENSOR_WORDS
    for _ in range(n_actuators):
        low, high = signed(task[at + LOWEST]), signed(task[at + HIGHEST])
        _need(low <= high, at)  # one word alone: as little authority as there can be
        _need(task[at + SLEW] > 0, at + SLEW)
        _need(low <= signed(task[at + SAFE]) <= high, at + SAFE)
        at += ACTUATOR_WORDS


def _need(condition, word):
    if not condition:
        raise Fault(BLOCK, 0x10000 + word)
