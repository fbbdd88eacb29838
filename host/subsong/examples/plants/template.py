"""Your plant. Words are 16 bits, two's complement: what is put into x is & 0xFFFF. docs/pins.md."""

from machine import ADC, PWM, Pin

adc = ADC(Pin(26))
pwm = PWM(Pin(15), freq=20000, duty_u16=0)
wanted = reading = 0


def reset(seed):  # begin a trial: bring the plant to its start; the seed may choose what is wanted
    global wanted
    safe()
    wanted = 16384 + (seed * 40503 & 0x7FFF)


def sense(x):  # read every sensor once: x[0], x[1], ... as many as network.layers begins with
    global reading
    reading = adc.read_u16()
    x[0] = (wanted - reading) >> 1 & 0xFFFF
    x[1] = reading ^ 0x8000


def actuate(u):  # put out u[0], u[1], ...: any words; 0 is to be what harms least
    word = (u[0] ^ 0x8000) - 0x8000
    pwm.duty_u16(2 * max(word, 0))


def cost():  # of the step, a whole number: what is to become small; a trial's sum stays below 2**28
    return abs(wanted - reading)


def safe():  # called often, at any moment: outputs off
    pwm.duty_u16(0)
