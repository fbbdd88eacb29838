"""The firmware of boards with some 9 KB of heap: the micro:bit v1 under MicroPython 1.9.2 (docs/microbit.md).

words       the words of a session, which Python and kernels share
wire        COBS and CRC-32, as kernels
guard       what is asked of a learner's block before machine code runs on it, as kernels
link        the session: frames in, commands judged, frames out, as kernels
board       the Python around them; the host shortens it and sends it in parts (host/subsong/small_firmware.py)
"""
