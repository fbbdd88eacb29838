"""A DC motor with a quadrature encoder, to be turned to an angle: PWM and direction out, two encoder pins in.

Learn with the example dc_motor_pins; docs/pins.md has the wiring. An RP2 counts by PIO, other boards by interrupts.

    sensors   the way to the angle wanted, 20 a count, -32768 from FARTHEST on; the speed, 512 a count in a
              control period. Both saturate
    actuator  -32767 to 32767: full speed backwards to full speed forwards; 0 is off
    cost      half the way, in counts, squared
    reset     lets the motor come to rest; angles count from there, and the seed says which is wanted
"""

from array import array
from time import sleep_ms

from machine import PWM, Pin

PWM_PIN = 15
DIRECTION_PIN = 14
A_PIN, B_PIN = 16, 17  # PIO wants neighbours, A first
PWM_HZ = 20000
TURN = 1320  # counts in a turn of the shaft: 11 pulses of 4 edges, gear 1:30
FARTHEST = 3200  # counts: from here on it has run away
REST_MS = 20  # who makes no count in so long is at rest
TRIES = 50  # so often it is looked at

pwm = PWM(Pin(PWM_PIN), freq=PWM_HZ, duty_u16=0)
direction = Pin(DIRECTION_PIN, Pin.OUT, value=0)
a, b = Pin(A_PIN, Pin.IN, Pin.PULL_UP), Pin(B_PIN, Pin.IN, Pin.PULL_UP)
counted = array("H", [0])  # by the encoder, 16 bits that wrap around
origin = wanted = position = way = 0

try:
    from rp2 import PIO, StateMachine, asm_pio
except ImportError:  # no RP2
    # What a change of BA counts: four for each BA before, by BA after. 00 10 11 01 is forwards.
    TURNS = array("b", [0, -1, 1, 0, 1, 0, 0, -1, -1, 0, 0, 1, 0, 1, -1, 0])
    EDGES = Pin.IRQ_RISING | Pin.IRQ_FALLING
    before = array("B", [b.value() << 1 | a.value()])

    def on_edge(_pin):
        """Count a change of the pins."""
        now = b.value() << 1 | a.value()
        counted[0] = (counted[0] + TURNS[before[0] << 2 | now]) & 0xFFFF
        before[0] = now

    def count():
        """Return the encoder's count."""
        return counted[0]

    for pin in (a, b):
        try:
            pin.irq(on_edge, EDGES, hard=True)
        except TypeError:  # ESP32: there are soft ones alone
            pin.irq(on_edge, EDGES)
else:

    @asm_pio(out_shiftdir=PIO.SHIFT_RIGHT)
    def quadrature():
        """Count in Y, and push it without end. BA before and after make an address: so this begins at 0."""
        jmp("same")  # 00 00
        jmp("backwards")
        jmp("forwards")
        jmp("same")
        jmp("forwards")  # 01 00
        jmp("same")
        jmp("same")
        jmp("backwards")
        jmp("backwards")  # 10 00
        jmp("same")
        jmp("same")
        jmp("forwards")
        jmp("same")  # 11 00
        jmp("forwards")
        label("backwards")  # and 11 10
        jmp(y_dec, "same")
        wrap_target()
        label("same")  # and 11 11
        mov(isr, y)
        push(noblock)
        out(isr, 2)  # BA before
        in_(pins, 2)
        mov(osr, isr)
        mov(pc, isr)
        label("forwards")  # y + 1 is ~(~y - 1)
        mov(y, invert(y))
        jmp(y_dec, "on")
        label("on")
        mov(y, invert(y))
        wrap()
        for _ in range(8):  # 32 in all: what fills the memory begins at 0
            nop()

    PIO(0).remove_program()  # of an earlier import
    encoder = StateMachine(0, quadrature, freq=1_000_000, in_base=a)
    encoder.active(1)

    def count():
        """Return the encoder's count: up to four old ones wait, the fifth is new."""
        for _ in range(5):
            encoder.get(counted)
        return counted[0]


def reset(seed):
    """Wait until the motor rests, a second at most; choose an angle within half a turn."""
    global origin, wanted, position
    safe()
    for _ in range(TRIES):
        origin = count()
        sleep_ms(REST_MS)
        if count() == origin:
            break
    position = 0
    wanted = ((seed * 40503 & 0xFFFF) * TURN >> 16) - TURN // 2


def sense(x):
    """Read the encoder."""
    global position, way
    now = ((count() - origin + 0x8000) & 0xFFFF) - 0x8000
    speed = min(max(now - position, -63), 63)
    position = now
    way = min(max(wanted - now, -FARTHEST), FARTHEST)
    x[0] = min(max(20 * way, -32767), 32767) & 0xFFFF if -FARTHEST < way < FARTHEST else 0x8000
    x[1] = 512 * speed & 0xFFFF


def actuate(u):
    """Set direction and duty."""
    word = (u[0] ^ 0x8000) - 0x8000
    direction.value(word < 0)
    pwm.duty_u16(min(2 * abs(word), 65535))


def cost():
    """Return half the way, squared."""
    return (way >> 1) * (way >> 1)


def safe():
    """Take the drive away."""
    pwm.duty_u16(0)
