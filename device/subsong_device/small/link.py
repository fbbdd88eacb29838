"""The session of the link as kernels: frames in, commands judged, frames out. docs/protocol.md is the normative text.

Python on the board (board.py) waits, allocates and calls; what must be small is here.
"""

from subsong_device.layout import LAYER_WORDS, LAYERS_AT
from subsong_device.small.guard import outside
from subsong_device.small.wire import close_frame, open_frame
from subsong_device.small.words import (
    ACTUATORS,
    ANSWERS,
    ARENA_WORD,
    BEGIN,
    CHUNK,
    CLOSE,
    COMMAND_ROWS,
    DETAIL,
    DROPPED,
    END,
    FAULT,
    FIELD,
    FIELDS,
    FOLLOWED_BY_CHUNK,
    FOLLOWED_BY_STEP,
    GOT,
    GREETED,
    HAVE,
    HELLO,
    IN_TRIAL,
    LAST_KIND,
    LAST_SEQ,
    LEFT,
    LONGEST,
    MAX_COST,
    MAX_DEADMAN_MS,
    MAX_STEPS,
    MAX_TRIAL,
    MAX_WORDS,
    MIN_DEADMAN_MS,
    MOST_WORDS,
    N_COMMANDS,
    NEW,
    NEXT_SEQ,
    NO_FIELD,
    NO_MEMORY,
    NO_WORD,
    NOT_RUNNING,
    NUMBER,
    OF_MODE,
    OF_SCHEMA,
    OPEN,
    OPENED,
    OUT_OF_ORDER,
    PAYLOAD_AT,
    PHASE_NOW,
    READ,
    READY,
    REFUSE,
    REGION_AT,
    REPEAT,
    RUN,
    RUNNING,
    SCHEMA,
    SEAL,
    SENSORS,
    SHAPE,
    SNAPSHOT,
    SNAPSHOT_DUE,
    STATE,
    STEP,
    STEP_NOW,
    STOPPING,
    TAKEN,
    TRIAL_NOW,
    UNASKED,
    WINDOW,
    WINDOW_LEFT,
    WRITE,
)


def take(s: ptr32, rx: ptr8, data: ptr8) -> int:
    """Take bytes that came, up to the end of a whole frame.

    Args:
        s: the session; data[s[TAKEN] : s[GOT]] was not taken yet.
        rx: LONGEST + 1 bytes: the segment under way, and at the end the frame, its body from rx[1] on.
        data: what was read.

    Returns:
        The frame's type; 0 if all was taken and no frame is whole. Segments that are no frame are counted.

    Scaling and overflow: offsets below 2**14.
    """
    kind = 0
    at = s[TAKEN]
    have = s[HAVE]
    while at < s[GOT] and kind == 0:
        byte = data[at]
        at += 1
        if byte != 0:
            if have < LONGEST:  # a segment that outgrows every frame stays one that is too long
                rx[have] = byte
                have += 1
        elif have > 0:
            body = open_frame(rx, have)
            have = 0
            index = rx[1] - HELLO
            if body > 0 and index >= 0 and index < N_COMMANDS:
                expected = s[COMMAND_ROWS + index] & 0xFF
                if index == STEP - HELLO:
                    expected += s[SENSORS] << 1
                if body == expected:
                    kind = rx[1]
            if kind == 0:
                s[DROPPED] += 1
    s[TAKEN] = at
    s[HAVE] = have
    return kind


def unpack(s: ptr32, rx: ptr8, row: int) -> int:
    """Write a payload's fields to s[FIELDS ..]; four bytes are an int32, fewer are unsigned.

    Scaling and overflow: the fourth byte is signed before it is shifted by 24.
    """
    p = PAYLOAD_AT
    row = row >> 15
    for i in range(8):
        size = row & 3
        row = row >> 2
        if size != NO_FIELD:
            value = 0
            for k in range(1 << size):
                byte = rx[p]
                if k == 3:
                    byte = (byte ^ 0x80) - 0x80
                value = value | (byte << (k << 3))
                p += 1
            s[FIELDS + i] = value
    return 0


def region_bytes(s: ptr32, region: int) -> int:
    """Return the bytes of a region; 0 if there is none of this number.

    Scaling and overflow: at most those of the arena.
    """
    n = 0
    if region >= 0 and region <= 2:
        n = s[REGION_AT + 1 + region] - s[REGION_AT + region]
    return n


def place(s: ptr32) -> int:
    """Lay the regions of OPEN out in the arena; return 1 if they fit, 0 if not.

    Scaling and overflow: at most 2**24 words of 4, 2 and 2 bytes, below 2**28.
    """
    mem = s[FIELDS + 4] << 2
    task = mem + (s[FIELDS + 5] << 1)
    end = task + (s[FIELDS + 6] << 1)
    fits = 0
    if end <= s[ARENA_WORD]:
        fits = 1
        for i in range(8):
            s[SHAPE + i] = s[FIELDS + i]
        s[REGION_AT + 1] = mem
        s[REGION_AT + 2] = task
        s[REGION_AT + 3] = end
    return fits


def bad_field(s: ptr32, kind: int) -> int:
    """Return the index of the first field of a command that is out of its range; -1 if none is.

    Scaling and overflow: fields are int32; what is subtracted from a bound was found to be in range before.
    """
    a = s[FIELDS]
    b = s[FIELDS + 1]
    c = s[FIELDS + 2]
    d = s[FIELDS + 3]
    bad = 0 - 1
    if kind == OPEN:
        bad = outside(a, 0, 1, bad, 0)
        bad = outside(b, 0, 1, bad, 1)
        bad = outside(c, 1, MOST_WORDS - 1, bad, 2)
        bad = outside(d, 1, MOST_WORDS - c, bad, 3)
        bad = outside(s[FIELDS + 4], LAYERS_AT + LAYER_WORDS, MAX_WORDS, bad, 4)
        bad = outside(s[FIELDS + 5], 1, MAX_WORDS, bad, 5)
        bad = outside(s[FIELDS + 6], b, b << 24, bad, 6)
        bad = outside(s[FIELDS + 7], MIN_DEADMAN_MS, MAX_DEADMAN_MS, bad, 7)
    elif kind == WRITE or kind == READ:
        n = region_bytes(s, a)
        bad = outside(a, 0, 2, bad, 0)
        bad = outside(b, 0, n - 1, bad, 1)
        if kind == WRITE:
            bad = outside(c, 1, CHUNK, bad, 2)
            bad = outside(c, 1, n - b, bad, 2)
    elif kind == BEGIN:
        bad = outside(a, 0, MAX_TRIAL, bad, 0)
        bad = outside(b, 0, 1, bad, 1)
    elif kind == STEP:
        bad = outside(a, s[TRIAL_NOW], s[TRIAL_NOW], bad, 0)
        bad = outside(b, s[STEP_NOW], MAX_STEPS - 1, bad, 1)
        bad = outside(s[STEP_NOW], b, b, bad, 1)
        bad = outside(c, 0 - MAX_COST, MAX_COST, bad, 2)
    elif kind == END:
        bad = outside(a, s[TRIAL_NOW], s[TRIAL_NOW], bad, 0)
        bad = outside(b, 0 - MAX_COST, MAX_COST, bad, 1)
        bad = outside(s[STEP_NOW], 1, MAX_STEPS, bad, 0)
    elif kind == RUN:
        bad = outside(a, 0, MAX_TRIAL, bad, 0)
        bad = outside(b, 1, MAX_TRIAL - a + 1, bad, 1)
        bad = outside(c, 1, MAX_STEPS, bad, 2)
        bad = outside(d, 0, 1, bad, 3)
    return bad


def command(s: ptr32, rx: ptr8) -> int:
    """Judge the command in rx: is it the next one, allowed now, in range? What that changes is changed.

    Returns:
        The command's type if something is left to do: WRITE, SEAL, BEGIN, STEP, END, READ, HELLO; REPEAT or
        REFUSE; else 0. The reply is an ACK of s[FAULT] and s[DETAIL] where those that remain do not send another.

    Scaling and overflow: those of unpack and bad_field.
    """
    kind = rx[1]
    seq = rx[2] | (rx[3] << 8)
    action = 0
    code = 0
    detail = 0
    s[WINDOW_LEFT] = WINDOW
    s[ANSWERS] = seq
    if kind != HELLO and seq != s[NEXT_SEQ]:
        if seq == s[LAST_SEQ] and kind == s[LAST_KIND]:
            action = REPEAT
        else:
            action = REFUSE
            code = OUT_OF_ORDER
            detail = s[NEXT_SEQ]
    else:
        s[LAST_SEQ] = seq
        s[LAST_KIND] = kind
        following = seq + 1
        if seq == 0xFFFF:
            following = 1
        s[NEXT_SEQ] = following
        row = s[COMMAND_ROWS + kind - HELLO]
        unpack(s, rx, row)
        now = s[PHASE_NOW]
        task = s[OF_MODE]
        if ((row >> 8) & (1 << now)) == 0 or (kind == BEGIN and task != 0) or (kind == RUN and task == 0):
            code = STATE
            detail = now
            if now == NEW:
                code = SCHEMA
                detail = s[OF_SCHEMA]
        else:
            bad = bad_field(s, kind)
            if bad >= 0:
                code = FIELD
                detail = bad
            elif kind == SNAPSHOT and now != RUNNING:
                code = NOT_RUNNING
                detail = s[NUMBER]
            else:
                action = kind
                if kind == HELLO:
                    if now == NEW and s[FIELDS] == s[OF_SCHEMA]:
                        now = GREETED
                elif kind == OPEN:
                    action = 0
                    now = GREETED
                    s[NUMBER] = 0
                    if place(s) != 0:
                        now = OPENED
                    else:
                        code = NO_MEMORY
                        detail = s[ARENA_WORD]
                elif kind == WRITE or kind == SEAL:
                    now = OPENED
                elif kind == BEGIN:
                    now = IN_TRIAL
                    s[TRIAL_NOW] = s[FIELDS]
                    s[STEP_NOW] = 0
                elif kind == STEP:
                    s[STEP_NOW] += 1
                elif kind == END:
                    now = READY
                elif kind != READ:
                    action = 0
                    if kind == RUN:
                        now = RUNNING
                        s[STOPPING] = 0
                        s[SNAPSHOT_DUE] = 0
                    elif kind == SNAPSHOT:
                        s[SNAPSHOT_DUE] = 1
                    elif kind == CLOSE:
                        now = LEFT
                    else:
                        s[STOPPING] = 1
                s[PHASE_NOW] = now
    s[FAULT] = code
    s[DETAIL] = detail
    return action


def make_frame(s: ptr32, buf: ptr8, row: int) -> int:
    """Make a frame of the session's words, by one of REPLY_ROWS; what follows the fields lies in buf already.

    Returns:
        Bytes on the wire.

    Scaling and overflow: those of close_frame; a word is shifted down byte by byte.
    """
    follows = s[row] >> 8
    seq = s[ANSWERS]
    if (follows & UNASKED) != 0:
        seq = 0
    buf[1] = s[row] & 0xFF
    buf[2] = seq & 0xFF
    buf[3] = seq >> 8
    p = PAYLOAD_AT
    for i in range(2, 12):
        field = (s[row + (i >> 2)] >> ((i & 3) << 3)) & 0xFF
        if field != NO_WORD:
            value = s[field >> 2]
            for _k in range(1 << (field & 3)):
                buf[p] = value & 0xFF
                value = value >> 8
                p += 1
    follows = follows & 3
    if follows == FOLLOWED_BY_CHUNK:
        p += CHUNK
    elif follows != 0:
        p += s[ACTUATORS] << 1
        if follows == FOLLOWED_BY_STEP:
            p += s[SENSORS] << 1
    return close_frame(buf, p + 3)
