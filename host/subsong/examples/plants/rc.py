"""An RC filter: a PWM pin charges a capacitor through a resistor, an ADC pin reads its voltage. The one-minute plant.

Learn with the example rc_pins; docs/pins.md has the wiring.

    sensors   half the way to the voltage wanted; the voltage. 65536 counts are the supply
    actuator  -32767 to 32767: 0 to 100 % of the supply; so 0 is half of it
    cost      the way squared, in units of 1/1024 of the supply
    reset     empties the capacitor; the seed says which voltage is wanted
"""

from time import sleep_ms

from machine import ADC, PWM, Pin

PWM_PIN = 15
ADC_PIN = 26
PWM_HZ = 20000
EMPTY_MS = 100  # ten time constants of 10 kOhm and 1 uF
LOWEST, SPAN = 6554, 52428  # voltages wanted: 10 % to 90 % of the supply

pwm = PWM(Pin(PWM_PIN), freq=PWM_HZ, duty_u16=0)
adc = ADC(Pin(ADC_PIN))
wanted = way = 0


def reset(seed):
    """Empty the capacitor, and choose the voltage wanted: seeds that follow each other spread evenly."""
    global wanted
    safe()
    sleep_ms(EMPTY_MS)
    wanted = LOWEST + ((seed * 40503 & 0xFFFF) * SPAN >> 16)


def sense(x):
    """Read the voltage."""
    global way
    voltage = adc.read_u16()
    way = wanted - voltage
    x[0] = way >> 1 & 0xFFFF
    x[1] = voltage ^ 0x8000


def actuate(u):
    """Set the duty."""
    pwm.duty_u16(u[0] ^ 0x8000)


def cost():
    """Return what is left of the way, squared: at most 2**20."""
    return (way >> 6) * (way >> 6)


def safe():
    """Put out 0 V."""
    pwm.duty_u16(0)
