"""The link's frames as kernels: COBS and CRC-32 for boards whose MicroPython has neither, nor slice assignment.

Frames of at most 254 bytes on the wire: COBS then has no block without a zero. docs/protocol.md is the normative text.
"""

RESIDUE = 0x2144DF1C  # CRC-32 of a body followed by its own, as frames.RESIDUE


def crc32(data: ptr8, start: int, end: int, crc: int) -> int:
    """Return zlib's CRC-32 of data[start:end], going on from the CRC of what came before (0 at first), as int32.

    Scaling and overflow: any int32 in and out; shifted down by one bit, and masked to 31, it stays one.
    """
    logical = (0x3FFFFFFF << 1) | 1
    polynomial = 0 - 0x12477CE0  # 0xEDB88320
    crc = 0 - 1 - crc
    for i in range(start, end):
        crc = crc ^ data[i]
        for _k in range(8):
            crc = ((crc >> 1) & logical) ^ (polynomial & (0 - (crc & 1)))
    return 0 - 1 - crc


def open_frame(buf: ptr8, n: int) -> int:
    """Decode in place what came between two delimiters, n bytes, none of which is 0; the body lies from buf[1] on.

    Returns:
        Bytes of the body, its CRC included; 0 if this is no COBS, or has another CRC.

    Scaling and overflow: offsets up to 254 + 255.
    """
    body = n - 1
    i = 0
    while i < n:
        c = buf[i]
        buf[i] = 0
        if c == 0:
            c = 0x200  # leaves the loop beyond its end
        i += c
    if n < 8 or n > 253 or i != n or crc32(buf, 1, n, 0) != RESIDUE:
        body = 0
    return body


def close_frame(buf: ptr8, body: int) -> int:
    """Put the CRC behind a body that lies in buf from 1 on, and encode it in place.

    Args:
        buf: body + 2 bytes or more; type, sequence number and payload are in place.
        body: bytes of the body, CRC included, 7..252.

    Returns:
        Bytes on the wire, delimiter included.

    Scaling and overflow: those of crc32; distances between zeros below 254.
    """
    crc = crc32(buf, 1, body - 3, 0)
    for i in range(4):
        buf[body - 3 + i] = crc & 0xFF
        crc = crc >> 8
    buf[0] = 0
    zero = body + 1  # the next one, from behind
    i = body
    while i >= 0:
        if buf[i] == 0:
            buf[i] = zero - i
            zero = i
        i -= 1
    buf[body + 1] = 0
    return body + 2
