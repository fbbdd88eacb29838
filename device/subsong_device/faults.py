"""Why the board refuses: the `code` of an ACK frame. The host has a sentence for each (subsong.bridge)."""

OK = 0
SCHEMA = 1  # a command before a HELLO of this schema; detail: the board's schema
SEQUENCE = 2  # neither the next command nor the last one again; detail: the number expected
STATE = 3  # not allowed now; detail: the session's state
FIELD = 4  # a field is out of its range; detail: its index in the command's row of frames.TABLE
NO_MEMORY = 5  # the learner does not fit; detail: bytes of heap that are free
NO_LEARNER = 6  # the rule's kernels are not on the board; detail: the rule
CHECKSUM = 7  # a region is not what the host sent; detail: the region
BLOCK = 8  # head contradicts OPEN or points outside its regions; detail: the word of head
LEARNER = 9  # a kernel raised an exception
DEADMAN = 10  # unsolicited, on leaving: nothing was heard from the host for so long; detail: ms
NOT_RUNNING = 11  # SNAPSHOT after the end of RUN; detail: telemetry frames sent in this session
KERNELS = 12  # at the REPL, before the link: no tier computes the known answers
NO_CHECKPOINT = 13  # LOAD of a run of which no slot holds a whole state
FLASH = 14  # SAVE could not write, or LOAD not read; detail: errno
UNSIGNED = 15  # the board has a key, and this was not signed with it; detail: the counter that it expects at least
SENSOR = 16  # a sensor word of the board's plant left its range; detail: the sensor. From here on the plant is safe
STUCK = 17  # a sensor word stayed what it was for too many steps; detail: the sensor
LATE = 18  # a step of the plant, or its reset(), took too long; detail: ms until that was noticed
PLANT = 19  # plant.py raised an exception; detail: its line; from bits 16 and 24 on the function and what (plant_check)
NO_PLANT = 20  # there is no plant.py: detail 0; or it lacks functions: a bit for each, as they are numbered there
NO_WATCHDOG = 21  # the board has none, or no timer to feed it by
PERIOD = 22  # no step of a trial fitted the control period; detail: us by which, on average

# States of a session, the detail of STATE.
NEW = 0  # no HELLO yet
GREETED = 1
OPENED = 2  # memory is there, not yet sealed
READY = 3  # sealed, between trials
IN_TRIAL = 4
RUNNING = 5
FAILED = 6  # a kernel raised: open again


class Fault(Exception):
    """A command is refused, with one of the numbers above."""

    def __init__(self, code, detail=0):
        self.code = code
        self.detail = detail


def need(condition, field):
    """Refuse a command whose field, by its index in the command's row of frames.TABLE, is out of its range."""
    if not condition:
        raise Fault(FIELD, field)
