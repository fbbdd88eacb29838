"""The link's frames: their table, COBS, CRC-32. The same file is imported by the host and by the board.

    wire = COBS(type u8 | seq u16 | payload | crc32 u32) 0x00        everything little-endian

docs/protocol.md is the normative text.
"""

from struct import calcsize, pack_into

HELLO, OPEN, WRITE, SEAL, BEGIN, STEP = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
END, RUN, READ, SNAPSHOT, CLOSE, STOP = 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B
ASK, SAVE, LOAD, SIGN = 0x1C, 0x1D, 0x1E, 0x1F  # what a small board does not have
R_HELLO, ACK, ACT, TRIAL, DATA, STATUS, CHECKPOINT = 0x90, 0x91, 0x95, 0x96, 0x98, 0x9C, 0x9E
T_STEP, T_TRIAL, T_SNAP, T_DONE, T_TIME = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4

# Type, name, payload, names of the payload's fields. Payloads are struct formats, and besides:
# S: n_sensors int16, A: n_actuators int16, D: a chunk of a region, as many bytes as the board's HELLO says.
TABLE = (
    (HELLO, "HELLO", "I", "schema"),
    (OPEN, "OPEN", "BBHHIIII", "rule mode n_sensors n_actuators head_words mem_words task_words deadman_ms"),
    (WRITE, "WRITE", "BIBD", "region offset count data"),
    (SEAL, "SEAL", "III", "head mem task"),
    (BEGIN, "BEGIN", "IB", "trial evaluate"),
    (STEP, "STEP", "IHiS", "trial step cost x"),
    (END, "END", "Ii", "trial cost"),
    (RUN, "RUN", "IIHB", "first trials steps evaluate"),
    (READ, "READ", "BI", "region offset"),
    (SNAPSHOT, "SNAPSHOT", "", ""),
    (CLOSE, "CLOSE", "", ""),
    (STOP, "STOP", "", ""),
    (ASK, "ASK", "", ""),
    (SAVE, "SAVE", "III", "run trial trials"),
    (LOAD, "LOAD", "I", "run"),
    (SIGN, "SIGN", "I32s", "counter mac"),
    (R_HELLO, "HELLO", "IHBBII", "schema arithmetic tier chunk heap_free dropped"),
    (ACK, "ACK", "BI", "code detail"),
    (ACT, "ACT", "IHA", "trial step u"),
    (TRIAL, "TRIAL", "IBIiiIII", "trial evaluate steps total baseline checksum saturated dropped"),
    (DATA, "DATA", "BIBD", "region offset count data"),
    (STATUS, "STATUS", "IIBBHI", "board session flags state expected counter"),
    (CHECKPOINT, "CHECKPOINT", "III", "count trial trials"),
    (T_STEP, "T_STEP", "IIHiSA", "number trial step cost x u"),
    (
        T_TRIAL,
        "T_TRIAL",
        "IIBIiiIIIi",
        "number trial evaluate steps total baseline checksum saturated dropped last_cost",
    ),
    (T_SNAP, "T_SNAP", "IIBIBD", "number trial region offset count data"),
    (T_DONE, "T_DONE", "II", "number trials"),
    (
        T_TIME,
        "T_TIME",
        "IIIIIIIII",
        "number trial steps period_us late jitter_us worst_jitter_us step_us longest_step_us",
    ),
)

CHUNK = 128  # bytes of a region in one frame; a board with a small receive buffer says fewer in its HELLO
MIN_CHUNK = 16
MAX_PAYLOAD = 1024
WINDOW = 8192  # bytes that the board sends unasked, at most, before it must hear from the host
OVERHEAD = 7  # type, seq and crc: a body is its payload and these
PAYLOAD_AT = 4  # in a buffer with the COBS code in front: code, type, seq, seq, payload
SHORTEST = 9  # bytes on the wire of a frame without payload, its delimiter included
MAX_STEPS = 16384  # steps of a trial
MAX_TRIAL = 0x3FFFFFFF  # trial numbers stay small integers on every board
MAX_COST = 0x10000000  # counts, either sign
MAX_STEP_WORDS = 505  # sensors and actuators together: what T_STEP holds
MIN_DEADMAN_MS, MAX_DEADMAN_MS = 20, 3600000
RULES = (
    "weight_perturbation",
    "node_perturbation",
    "activity_difference",
    "hebb",
    "keep_if_better",
    "run_and_tumble",
    "conductance_perturbation",
    "songbird",
    "reinforce",
    "hedonistic_synapse",
    "stochastic_spiking",
)
IN_THE_LOOP, TASK, PLANT = 0, 1, 2  # modes of OPEN
LOCKED = 1  # flag of STATUS: the board has a key, and takes what is signed with it alone
HEAD, MEM, TASK_BLOCK = 0, 1, 2  # regions
CODING_TEXT = "cobs crc32 chunk 128 payload 1024 window 8192"

# What crc32 gives for a body followed by its own CRC: one comparison of a small integer, where comparing two CRCs
# would make two big integers on a 32-bit board.
RESIDUE = 0x2144DF1C
_ZERO = b"\0"


def crc32_slow(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Return zlib's CRC-32 of data behind what has `crc`, bit by bit: for boards whose MicroPython has none."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xEDB88320 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


try:
    from binascii import crc32
except ImportError:
    crc32 = crc32_slow


def formats(n_sensors: int = 0, n_actuators: int = 0, chunk: int = CHUNK) -> dict[int, str]:
    """Return {type: struct format of its payload}. Before OPEN both counts are 0; chunk is the board's, in bytes."""
    made = {}
    for kind, _, payload, _ in TABLE:
        words = payload.replace("S", "%dh" % n_sensors).replace("A", "%dh" % n_actuators)
        made[kind] = "<" + words.replace("D", "%ds" % chunk)
    return made


def body_lengths(to_board: bool, n_sensors: int = 0, n_actuators: int = 0, chunk: int = CHUNK) -> dict[int, int]:
    """Return {type: bytes of the body} for one direction."""
    made = formats(n_sensors, n_actuators, chunk)
    return {kind: calcsize(made[kind]) + OVERHEAD for kind in made if (kind < 0x80) == to_board}


def wire_length(body: int) -> int:
    """Return the greatest number of bytes on the wire of a body of so many bytes: exact up to 254."""
    return body + 2 + (body - 1) // 254


def schema() -> int:
    """Return the link's schema: a CRC-32 over its table's canonical text, one row a line."""
    rows = ["%02x %s %s %s\n" % row for row in TABLE]
    return crc32(("".join(rows) + CODING_TEXT).encode())


def stuff(buf: bytearray, n: int) -> int:
    """COBS-encode in place: the body lies in buf[1 : n + 1], and buf has wire_length(n) bytes or more.

    Every zero of the body becomes the distance to the next one, so that the work grows with the zeros, not the bytes.

    Returns:
        Bytes on the wire, delimiter included.
    """
    end = n + 1
    buf[end] = 0
    find = buf.find
    p = 0
    while p < end:
        q = find(_ZERO, p + 1)
        if q - p < 255 or (q - p == 255 and q == end):
            buf[p] = q - p
            p = q
        else:  # 254 bytes without a zero: a code that stands for none
            buf[p] = 255
            p += 255
            buf[p + 1 : end + 2] = buf[p : end + 1]
            end += 1
    return end + 1


def unstuff(buf: bytearray, n: int) -> int:
    """COBS-decode in place the n >= 1 bytes buf[:n], none of which is 0; the body lies from buf[1] on.

    Returns:
        Bytes of the body, or -1 if this is no COBS.
    """
    i = 0
    c = buf[0]
    buf[0] = 0
    while True:
        i += c
        if i >= n or c == 0:
            return n - 1 if i == n and c else -1
        full = c == 255
        c = buf[i]
        if full:  # it stood for no zero: take the next code out, and go on as if that lay before its data
            if c == 1 and i == n - 1:
                return -1  # one body, one encoding: a full block that ends a body has no successor
            buf[i : n - 1] = buf[i + 1 : n]
            n -= 1
            i -= 1
        else:
            buf[i] = 0


def open_frame(buf: bytearray, n: int, lengths: dict[int, int]) -> int:
    """Decode in place what came between two delimiters, buf[:n], none of which is 0.

    Args:
        buf: bytearray, altered.
        n: bytes of the segment.
        lengths: body_lengths(...) of its direction.

    Returns:
        The frame's type, its payload lying at buf[PAYLOAD_AT : lengths[type] - 3]; 0 if it is damaged: no COBS, a type
        unknown in this direction, any other length than that type's, or another CRC.
    """
    if n < SHORTEST - 1:
        return 0
    body = unstuff(buf, n)
    kind = buf[1]
    if lengths.get(kind) != body or crc32(memoryview(buf)[1 : body + 1]) != RESIDUE:
        return 0
    return kind


def seal_frame(buf: bytearray, body: int) -> int:
    """Put the CRC behind a body that lies in buf from 1 on, and encode it.

    Args:
        buf: bytearray of wire_length(body) bytes or more; type, seq and payload are in place.
        body: bytes of the body, CRC included.

    Returns:
        Bytes on the wire.
    """
    pack_into("<I", buf, body - 3, crc32(memoryview(buf)[1 : body - 3]))
    return stuff(buf, body)


def encode(kind: int, seq: int, payload: bytes) -> bytes:
    """Return the bytes on the wire of a frame, delimiter included."""
    body = len(payload) + OVERHEAD
    buf = bytearray(wire_length(body))
    buf[1] = kind
    buf[2] = seq & 0xFF
    buf[3] = seq >> 8
    buf[PAYLOAD_AT : PAYLOAD_AT + len(payload)] = payload
    return bytes(memoryview(buf)[: seal_frame(buf, body)])


class Deframer:
    """Cuts a stream of bytes into frames, whatever lies in it: damage is counted, never raised.

    Args:
        lengths: body_lengths(...) of the stream's direction; may be replaced as OPEN fixes them.

    Attributes:
        damaged: segments between two delimiters that were no frame.
        tail: what came since the last delimiter.
    """

    def __init__(self, lengths: dict[int, int]) -> None:
        self.lengths = lengths
        self.damaged = 0
        self.tail = b""
        self._overlong = False

    def feed(self, data: bytes) -> list[tuple[bytes, int, int, bytes]]:
        """Take bytes as they come.

        Returns:
            List of (wire, type, seq, payload): the wire's bytes up to and with a delimiter, and what they hold; type 0
            where they are damaged. A segment that outgrows every frame is handed on in parts, and counted once.
        """
        found = []
        segments = (self.tail + data).split(_ZERO)
        last = len(segments) - 1
        for i, segment in enumerate(segments):
            if i == last:
                break
            if segment or self._overlong:
                found.append(self._frame(segment))
        self.tail = segments[last]
        if len(self.tail) > _LONGEST:
            self.damaged += not self._overlong
            self._overlong = True
            found.append((self.tail, 0, 0, b""))
            self.tail = b""
        return found

    def _frame(self, segment: bytes) -> tuple[bytes, int, int, bytes]:
        wire = segment + _ZERO
        n = len(segment)
        kind = 0
        if self._overlong:
            self._overlong = False
        else:
            buf = bytearray(segment)
            kind = open_frame(buf, n, self.lengths) if n <= _LONGEST else 0
            if kind:
                return wire, kind, buf[2] | buf[3] << 8, bytes(buf[PAYLOAD_AT : self.lengths[kind] - 3])
            self.damaged += 1
        return wire, 0, 0, b""


_LONGEST = wire_length(MAX_PAYLOAD + OVERHEAD) - 1
