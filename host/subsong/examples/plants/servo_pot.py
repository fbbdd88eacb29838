"""A servo whose shaft turns a potentiometer, to be turned to an angle that the potentiometer says.

Learn with the example servo_pot_pins; docs/pins.md has the wiring.

    sensors   three quarters of the way to the reading wanted; the reading. 65536 counts are the whole track
    actuator  -32767 to 32767: pulses of 1 to 2 ms; 0 is 1.5 ms, the middle
    cost      the way squared, in units of 1/1024 of the track
    reset     turns to the middle; the seed says which reading is wanted
"""

from time import sleep_ms

from machine import ADC, PWM, Pin

PWM_PIN = 15
ADC_PIN = 26
PWM_HZ = 50
MIDDLE_MS = 500  # what the servo takes to the middle, from anywhere
LOWEST, SPAN = 22938, 19661  # readings wanted: 35 % to 65 % of the track

pwm = PWM(Pin(PWM_PIN), freq=PWM_HZ, duty_u16=0)
adc = ADC(Pin(ADC_PIN))
wanted = way = 0


def reset(seed):
    """Turn to the middle, and choose the reading wanted: seeds that follow each other spread evenly."""
    global wanted
    pulse(0)
    sleep_ms(MIDDLE_MS)
    wanted = LOWEST + ((seed * 40503 & 0xFFFF) * SPAN >> 16)


def pulse(word):
    """Send pulses of 1500 us and word * 500 / 32768 us more; 20 ms are 65536."""
    pwm.duty_u16(4915 + (word * 1638 >> 15))


def sense(x):
    """Read the potentiometer."""
    global way
    angle = adc.read_u16()
    way = wanted - angle
    x[0] = 3 * way >> 2 & 0xFFFF
    x[1] = angle ^ 0x8000


def actuate(u):
    """Set the pulses."""
    pulse((u[0] ^ 0x8000) - 0x8000)


def cost():
    """Return what is left of the way, squared: at most 2**20."""
    return (way >> 6) * (way >> 6)


def safe():
    """Send no pulses: the servo gives way."""
    pwm.duty_u16(0)
