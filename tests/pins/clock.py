"""MicroPython's `time` with a clock of its own, which goes on when somebody sleeps, and a microsecond at each look.

So a board that has this file as time.py runs as fast as it computes, and the same whatever else the machine does.
Runs under MicroPython and CPython.
"""

PERIOD = 1 << 30
now_us = 0
sleepers = []  # called after each sleep


def ticks_us():
    global now_us
    now_us += 1
    return now_us & (PERIOD - 1)


def ticks_ms():
    return (ticks_us() // 1000) & (PERIOD - 1)


def ticks_cpu():
    return ticks_us()


def time_ns():
    return 1000 * ticks_us()


def time():
    return ticks_us() // 1000000


def ticks_add(ticks, delta):
    return (ticks + delta) & (PERIOD - 1)


def ticks_diff(end, start):
    return ((end - start + PERIOD // 2) & (PERIOD - 1)) - PERIOD // 2


def sleep_us(us):
    global now_us
    now_us += us
    for call in sleepers:
        call()


def sleep_ms(ms):
    sleep_us(1000 * ms)


def sleep(seconds):
    sleep_us(int(1000000 * seconds))
