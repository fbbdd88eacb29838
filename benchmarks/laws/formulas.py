"""The exact laws of perturbation learning on linear tasks, every one a `Law` of the rate.

A law says E(t) = floor + (E_0 - floor) a**t for the mean over seeds of the expected cost E, with

    a = 1 - 2 gain eta + k eta**2            floor = excess eta**2 / (1 - a)

The step is dw = -eta (C - b) e with the eligibility e of docs/rules.md (xi / sigma, or sum over t of xi x / sigma), and
the cost is halved: C = |y - y*|**2 / 2 on a linear teacher, its mean over T steps in the extended task.

Sources: Werfel, Xie & Seung, Neural Computation 17 (2005); Zuege, Klos & Memmesheimer, Phys. Rev. X 13, 021006 (2023).
The forms for random signs, for inputs of any kurtosis and for measurement noise are derived below in a line each.
"""

from typing import Literal, NamedTuple

Rule = Literal["gradient", "node", "weight"]
Code = Literal["signs", "gaussian"]
Estimator = Literal["two_sided", "unperturbed_trial"]

NORMAL_KURTOSIS = 3.0
SIGN_KURTOSIS = 1.0


class Law(NamedTuple):
    """How the mean error falls, as a function of the rate eta.

    Attributes:
        gain: half the slope of 1 - a at eta = 0: the curvature of E along every weight that matters.
        k: what eta**2 costs.
        excess: what eta**2 adds to E in every update.
        rest: error that no weights remove (E_opt); part of `floor`.
    """

    gain: float
    k: float
    excess: float = 0.0
    rest: float = 0.0

    @property
    def eta_opt(self) -> float:
        """Return the rate of the fastest decay."""
        return self.gain / self.k

    @property
    def eta_max(self) -> float:
        """Return the rate from which E grows without bound."""
        return 2.0 * self.gain / self.k

    def loss(self, eta: float) -> float:
        """Return 1 - a, the part of E - floor that an update removes; below 0 the rate is unstable."""
        return 2.0 * self.gain * eta - self.k * eta**2

    def floor(self, eta: float) -> float:
        """Return E_inf, E_opt included; inf at an unstable rate."""
        loss = self.loss(eta)
        return self.rest + self.excess * eta**2 / loss if loss > 0.0 else float("inf")


def linear_law(
    rule: Rule,
    n: int,
    m: int,
    *,
    code: Code = "signs",
    estimator: Estimator = "two_sided",
    sigma: float = 0.1,
    noise: float = 0.0,
    variance: float = 1.0,
    kurtosis: float = NORMAL_KURTOSIS,
) -> Law:
    """Return the law of a linear teacher: one sample x a trial, y = W x, E = variance |W - W*|**2 / 2.

    The inputs are independent with mean 0. With D = W - W*, <|D x|**2 |x|**2> = variance**2 |D|**2 (N - 1 + kurtosis):
    that is N + 2 for normal inputs and N for signs. The perturbation contributes <(xi . v)**2 |xi|**2> =
    |v|**2 (P - 1 + its kurtosis), P the number of its components: P + 2 for normal ones, P for signs.

    Args:
        rule: the gradient itself, node or weight perturbation.
        n: inputs.
        m: outputs.
        code: distribution of the perturbation.
        estimator: two-sided, or one-sided against an unperturbed trial of the same input.
        sigma: its size.
        noise: standard deviation of every measured cost.
        variance: of an input.
        kurtosis: of an input, <x**4> / variance**2.
    """
    inputs = n - 1 + kurtosis
    if rule == "gradient":
        return Law(variance, variance**2 * inputs)
    components = m if rule == "node" else m * n
    spread = components if code == "signs" else components + 2
    # Half the difference of two costs has noise**2 / 2, one minus its reference 2 noise**2; <|e|**2> sigma**2 follows.
    noise_power = noise**2 / 2 if estimator == "two_sided" else 2 * noise**2
    eligibility = m * n * (variance if rule == "node" else 1.0)
    excess = variance / 2 * noise_power / sigma**2 * eligibility
    if estimator == "unperturbed_trial":
        excess += variance / 2 * sigma**2 / 4 * curvature_power(rule, n, m, code, variance, kurtosis)
    return Law(variance, variance**2 * spread * inputs, excess)


def curvature_power(rule: Rule, n: int, m: int, code: Code, variance: float, kurtosis: float) -> float:
    """Return <q**2 |e|**2> sigma**2, q = |dy|**2 / sigma**2 the cost's second-order term, which two sides cancel.

    Node: dy = sigma xi, e = xi x: <|xi|**6> N variance. Weight: dy = sigma xi x, e = xi; given x, <|xi x|**4 |xi|**2>
    is |x|**4 M (M + 2)(M N + 4) for normal xi, M N (M (M + 2) |x|**4 - 2 M sum of x_j**4) for signs.
    """
    if rule == "node":
        return variance * n * (m**3 if code == "signs" else m * (m + 2) * (m + 4))
    fourth = variance**2 * n * (n - 1 + kurtosis)
    if code == "gaussian":
        return fourth * m * (m + 2) * (m * n + 4)
    return m * n * (m * (m + 2) * fourth - 2 * m * n * kurtosis * variance**2)


def weight_sigma(sigma_eff: float, n: int) -> float:
    """Return the weight perturbation that moves an output as much as a node perturbation of sigma_eff does.

    sigma_eff / sqrt(alpha**2 N_eff), which is sigma_eff / sqrt(N).
    """
    return float(sigma_eff / n**0.5)


def extended_law(
    rule: Rule,
    n: int,
    m: int,
    steps: int,
    latent: int,
    *,
    sigma: float,
    rest: float = 0.0,
    code: Code = "gaussian",
) -> Law:
    """Return the law of the temporally extended linear task, one-sided against an unperturbed trial.

    The same T steps come in every trial; the N inputs, of mean power 1, span `latent` = N_eff equally strong
    directions, each of power alpha**2 = N / N_eff. C is the mean over T of |y - y*|**2 / 2. Weight perturbation is
    constant over a trial, node perturbation anew each step. With Q = |xi|**2 of the n = M N_eff components that matter:
    weight <Q**3>; node <(|xi|**2 of all M T)**2 Q>, and E_opt = `rest`, whose gradient is 0 but whose *cost* the nodes
    perturb: the 2 E_opt law.

    Args:
        rule: "node" or "weight".
        n: inputs.
        m: outputs.
        steps: T, of a trial.
        latent: N_eff.
        sigma: of a weight's perturbation (`weight_sigma`) or of a node's.
        rest: E_opt.
        code: normal, as in the paper. For signs the laws hold where the latent directions, and the time courses, load
            evenly on inputs and steps; otherwise up to terms of order 1 / (M N_eff).
    """
    power = n / latent
    q = m * latent
    nodes = m * steps
    # A sign's square is certain: of the spread that normal numbers add, the share p = rank / dimension falls away.
    if rule == "weight":
        p = latent / n if code == "signs" else 0.0
        cubed = q**3 + 6 * q**2 * (1 - p) + 8 * q * (1 - p) * (1 - 2 * p)
        return Law(power, power**2 * (q + 2 - 2 * p), sigma**2 * power**3 * cubed / 8, rest)
    p = latent / steps if code == "signs" else 0.0
    squared = nodes**2 if code == "signs" else (nodes + 2) * (nodes + 4)
    excess = sigma**2 * power**2 * q * squared / (8 * steps) + power**2 * (q - 2 * p) * rest
    return Law(power, power**2 * (q + 2 - 2 * p), excess, rest)


def rounding_floor(n: int, m: int, lsb: float, loss: float) -> float:
    """Return what stochastic rounding adds to E_inf where updates are larger than a weight's LSB.

    At a uniform fraction f the variance is f (1 - f) lsb**2, 1 / 6 on average: M N lsb**2 / 12 an update,
    over 1 - a. It never exceeds 1.5 times this (f = 1 / 2); updates smaller than an LSB have less.

    Args:
        n: inputs, of variance 1.
        m: outputs.
        lsb: of a weight.
        loss: 1 - a.
    """
    return m * n * lsb**2 / 12 / loss
