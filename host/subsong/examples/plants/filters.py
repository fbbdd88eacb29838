"""Two filters, played in integers: a plant.py without pins, so that it runs on every board and in every test.

Of a real plant, the comments say what would stand there. Words are 16 bits, two's complement, in an array('H').
"""

LEVELS = 12000  # the levels wanted lie in +-LEVELS
LEAK = 3  # a filter goes 2**-LEAK of the way in a step
GAIN = 16  # and GAIN times its drive is where to
MOST = 30000  # what a filter's level stays within

state = 1  # of the generator that draws levels and starts
wanted = [0, 0]
level = [0, 0]
drive = [0, 0]


def draw():
    """Return a number in +-LEVELS."""
    global state
    state = (state * 25173 + 13849) & 0xFFFF
    return state % (2 * LEVELS + 1) - LEVELS


def reset(seed):
    """Begin a trial: bring the plant to its start, here to one that the seed names."""
    global state
    safe()
    state = seed * 40503 & 0xFFFF
    for i in range(2):
        wanted[i] = draw()
        level[i] = draw()


def sense(x):
    """Fill the sensor words: adc.read_u16() ^ 0x8000."""
    for i in range(2):
        x[i] = wanted[i] & 0xFFFF
        x[2 + i] = level[i] & 0xFFFF


def actuate(u):
    """Put out the actuator words: pwm.duty_u16(u[0] ^ 0x8000)."""
    for i in range(2):
        drive[i] = (u[i] ^ 0x8000) - 0x8000
        # The filter, which a real plant has outside:
        level[i] = min(max(level[i] + ((GAIN * drive[i] - level[i]) >> LEAK), -MOST), MOST)
        wanted[i] += 1 if wanted[i] & 1 else -1  # so that no sensor is ever stuck


def cost():
    """Return what the step that ended cost, in counts: the distance from the levels wanted."""
    return (abs(level[0] - wanted[0]) + abs(level[1] - wanted[1])) >> 5


def safe():
    """Bring the outputs to their safe values."""
    for i in range(2):
        drive[i] = 0
