"""What hangs on the pins of the fake `machine`: each plant moves by the exact solution of its equation.

Duties and voltages are parts of the supply. Runs under MicroPython and CPython.
"""

from math import exp


class Plant:
    """Nothing: the voltage is half the supply's."""

    noisy = True  # the converter's last bit is

    def __init__(self):
        self.driven = False  # whether a duty has ever been other than 0
        self.duty = {}  # by pin
        self.hz = {}
        self.level = {}
        self.on_level = None  # called with (pin, level) of an input that has changed

    def advance(self, seconds):
        """Move, under duties that stay what they are."""

    def voltage(self, pin):
        return 0.5


class RC(Plant):
    """R C v' = duty - v, with R C = 10 ms."""

    v = 0.0

    def advance(self, seconds):
        self.v += (self.duty.get(15, 0.0) - self.v) * (1.0 - exp(-seconds / 0.01))

    def voltage(self, pin):
        return self.v


class Motor(Plant):
    """T w' = K u - w and x' = w: T = 50 ms, K = 2200 counts a second; the encoder says floor(x)."""

    T, K = 0.05, 2200.0
    x = w = 0.0
    count = 0

    def advance(self, seconds):
        drive = self.duty.get(15, 0.0) * (-1 if self.level.get(14) else 1) * self.K
        decay = 1.0 - exp(-seconds / self.T)
        self.x += drive * seconds + (self.w - drive) * self.T * decay
        self.w += (drive - self.w) * decay
        while self.count != self.x // 1:
            self.turn(1 if self.count < self.x // 1 else -1)

    def turn(self, by):
        """Count one; one of the two pins changes: AB is 00, 01, 11, 10 and so on, forwards."""
        self.count += by
        for pin, level in ((16, self.count >> 1 & 1), (17, (self.count + 1) >> 1 & 1)):
            if self.level.get(pin, 0) != level:
                self.level[pin] = level
                if self.on_level is not None:
                    self.on_level(pin, level)


class Servo(Plant):
    """Turns towards what the pulses say, a tenth of the track in 40 ms; 1 to 2 ms are 25 % to 85 % of the track."""

    SPEED = 2.5
    angle = 0.3

    def advance(self, seconds):
        pulse_ms = 1000.0 * self.duty.get(15, 0.0) / self.hz.get(15, 50)
        if pulse_ms:
            way = 0.25 + 0.6 * (pulse_ms - 1.0) - self.angle
            most = self.SPEED * seconds
            self.angle += min(max(way, -most), most)

    def voltage(self, pin):
        return self.angle


class Heater(Plant):
    """C T' = P duty - G (T - 20): 60 degrees more at full power, in 30 s; a TMP36 on 3.3 V."""

    t = 20.0

    def advance(self, seconds):
        self.t += (20.0 + 60.0 * self.duty.get(15, 0.0) - self.t) * (1.0 - exp(-seconds / 30.0))

    def voltage(self, pin):
        return (0.5 + 0.01 * self.t) / 3.3


class Stuck(Plant):
    """A converter that no longer converts."""

    noisy = False


class Unplugged(Plant):
    """A converter on ground."""

    def voltage(self, pin):
        return 0.0


NAMED = {"rc": RC, "dc_motor": Motor, "servo_pot": Servo, "heater": Heater, "stuck": Stuck, "unplugged": Unplugged}
