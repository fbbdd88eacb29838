"""A heater with a thermometer: a PWM pin switches a MOSFET, an ADC pin reads a TMP36. A slow plant.

Learn with the example heater_pins; docs/pins.md has the wiring.

    sensors   the way to the temperature wanted; the temperature above 40 degrees: 794 to 795 a degree
    actuator  0 to 32767: 0 to 100 % of the power; what is below 0 is off
    cost      the way squared, in units of 1/25 degree
    reset     turns the heater off; the seed says which temperature is wanted. Trials begin at whatever it is
"""

from machine import ADC, PWM, Pin

PWM_PIN = 15
ADC_PIN = 26
PWM_HZ = 100
READINGS = 16  # their mean is a reading


def counts(celsius):
    """Return what the ADC reads, of 65536 for 3.3 V: a TMP36 has 500 mV at 0 degrees and 10 mV a degree."""
    return (500 + 10 * celsius) * 65536 // 3300


MIDDLE = counts(40)
LOWEST, SPAN = counts(35), counts(55) - counts(35)  # temperatures wanted
HOTTEST = counts(65)  # from here on it is off

pwm = PWM(Pin(PWM_PIN), freq=PWM_HZ, duty_u16=0)
adc = ADC(Pin(ADC_PIN))
wanted = temperature = 0


def reset(seed):
    """Choose the temperature wanted: seeds that follow each other spread evenly."""
    global wanted
    safe()
    wanted = LOWEST + ((seed * 40503 & 0xFFFF) * SPAN >> 16)


def word(difference):
    """Return a difference of readings as a sensor word, which saturates."""
    return min(max(4 * difference, -32767), 32767) & 0xFFFF


def sense(x):
    """Read the temperature."""
    global temperature
    total = 0
    for _ in range(READINGS):
        total += adc.read_u16()
    temperature = total // READINGS
    x[0] = word(wanted - temperature)
    x[1] = word(temperature - MIDDLE)


def actuate(u):
    """Set the power."""
    power = (u[0] ^ 0x8000) - 0x8000
    pwm.duty_u16(2 * power if power > 0 and temperature < HOTTEST else 0)


def cost():
    """Return what is left of the way, squared: at most 2**22."""
    way = min(max(wanted - temperature, -16383), 16383)
    return (way >> 3) * (way >> 3)


def safe():
    """Turn the heater off."""
    pwm.duty_u16(0)
