"""The words of a small board's session: int32, one array that Python and kernels share (docs/microbit.md).

Their first values are an image that the host makes from the link's own table (host/subsong/small_firmware.py).
"""

# What the board says: fields of HELLO and of ACK.
OF_SCHEMA = 0
OF_ARITHMETIC = 1
OF_TIER = 2
OF_CHUNK = 3
HEAP_FREE = 4
DROPPED = 5
FAULT = 6
DETAIL = 7

# The session.
PHASE_NOW = 8  # one of faults.NEW .. FAILED, or LEFT
LAST_SEQ = 9
LAST_KIND = 10
NEXT_SEQ = 11
ANSWERS = 12  # number that a reply carries
WINDOW_LEFT = 13

# Bytes that came: those of the segment under way in rx, those taken of what was read last, and how many that were.
HAVE = 14
TAKEN = 15
GOT = 16

# A trial and its telemetry.
NUMBER = 17
TRIAL_NOW = 18
STEP_NOW = 19
COST_SEEN = 20
SUMMARY = 21  # evaluate, steps, total, baseline, checksum, saturated: head[EVALUATE .. SATURATED]
REGION = 27
OFFSET = 28
COUNT = 29
DONE = 30
STOPPING = 31
SNAPSHOT_DUE = 32

FIELDS = 33  # 8 words: those of the last command
SHAPE = 41  # 8 words: those of the last OPEN
OF_RULE = 41
OF_MODE = 42
SENSORS = 43
ACTUATORS = 44
HEAD_WORDS = 45
MEM_WORDS = 46
TASK_WORDS = 47
DEADMAN_MS = 48

# A word for each command from HELLO on: its body's bytes, << 8 the states where it is allowed, << 15 its fields' sizes,
# two bits each: 1 << size bytes, or none where all bits are set.
COMMAND_ROWS = 49
N_COMMANDS = 12
NO_FIELD = 3

# Three words for each frame that the board sends, of twelve bytes: type; what follows the fields, and 0x80 where the
# number is 0; then for each field its word << 2 and its size, or NO_WORD.
REPLY_ROWS = 61
ROW_WORDS = 3
ROW_HELLO = 61
ROW_ACK = 64
ROW_ACT = 67
ROW_TRIAL = 70
ROW_DATA = 73
ROW_T_STEP = 76
ROW_T_TRIAL = 79
ROW_T_SNAP = 82
ROW_T_DONE = 85

# Where head, mem and task lie in the arena, in bytes, and where they end; and how many there are.
REGION_AT = 88
ARENA_WORD = 92
SESSION_WORDS = 93

NO_WORD = 0xFF
FOLLOWED_BY_CHUNK = 1
FOLLOWED_BY_ACTUATORS = 2
FOLLOWED_BY_STEP = 3
UNASKED = 0x80

LONGEST = 63  # bytes of a frame on the wire: what the UART holds
MOST_WORDS = 18  # sensors and actuators together: their telemetry then fits
LEFT = 7  # the session is over
REPEAT = 1  # of `command`: send the last reply again
REFUSE = 2  # of `command`: an ACK that is not the reply to repeat

# As in frames.py and faults.py, which are no kernels' files; tests/test_microbit_link.py compares.
HELLO = 0x10
OPEN = 0x11
WRITE = 0x12
SEAL = 0x13
BEGIN = 0x14
STEP = 0x15
END = 0x16
RUN = 0x17
READ = 0x18
SNAPSHOT = 0x19
CLOSE = 0x1A
STOP = 0x1B
CHUNK = 40  # T_SNAP is then 63 bytes on the wire
WINDOW = 8192
PAYLOAD_AT = 4
MAX_STEPS = 16384
MAX_TRIAL = 0x3FFFFFFF
MAX_COST = 0x10000000
MIN_DEADMAN_MS = 20
MAX_DEADMAN_MS = 3600000
MAX_WORDS = 0x1000000
SCHEMA = 1
OUT_OF_ORDER = 2
STATE = 3
FIELD = 4
NO_MEMORY = 5
NO_LEARNER = 6
CHECKSUM = 7
BLOCK = 8
DEADMAN = 10
NOT_RUNNING = 11
NEW = 0
GREETED = 1
OPENED = 2
READY = 3
IN_TRIAL = 4
RUNNING = 5
