"""Gymnasium's CartPole with friction added: Coulomb friction under the cart, viscous friction in the pole's joint.

The equations of motion are those of R. V. Florian, "Correct equations for the dynamics of the cart-pole system" (2007):

    (m_c + m_p) x'' = F + m_p l (th'^2 sin th - th'' cos th) - mu_c N_c sgn(N_c x')
    (4/3) l th''    = g sin th - x'' cos th - mu_p th' / (m_p l)
    N_c             = (m_c + m_p) g - m_p l (th'' sin th + th'^2 cos th)

with l half the pole's length. Without friction the normal force N_c leaves them, and what remains is what Gymnasium
computes: it cites the same paper. So friction is added, not exchanged for something: with both coefficients 0 the step
is Gymnasium's own code, bit for bit.

Solved for th'', the friction term of the denominator carries sin th. The solved form in circulation under Florian's
name lacks that factor; it does not satisfy the three equations above, which the tests check by substitution.
"""

import math
from typing import Any, SupportsFloat, cast

import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray

_Step = tuple[NDArray[np.float32], SupportsFloat, bool, bool, dict[str, Any]]


class FrictionCartPole(CartPoleEnv):
    """CartPole whose cart and joint rub.

    Attributes:
        friction_cart: Coulomb coefficient mu_c; the force is mu_c N_c against the cart's velocity, none at rest.
        friction_pole: viscous coefficient mu_p of the joint, N m s / rad.
    """

    friction_cart = 0.0
    friction_pole = 0.0

    def step(self, action: int | NDArray[Any]) -> _Step:
        """Advance by tau seconds; see CartPoleEnv.step. Call reset() once it has returned terminated."""
        if self.friction_cart == 0.0 and self.friction_pole == 0.0:
            return cast("_Step", super().step(action))  # type: ignore[no-untyped-call]
        # Python floats and math.sin, not numpy's scalars: several times faster, and the Numba twin calls the same libm.
        x, x_dot, theta, theta_dot = cast("NDArray[np.float64]", self.state).tolist()
        force = self.force_mag if action == 1 else -self.force_mag
        xacc, thetaacc = self._accelerations(force, x_dot, theta, theta_dot)
        tau = self.tau
        if self.kinematics_integrator == "euler":
            x += tau * x_dot
            x_dot += tau * xacc
            theta += tau * theta_dot
            theta_dot += tau * thetaacc
        else:
            x_dot += tau * xacc
            x += tau * x_dot
            theta_dot += tau * thetaacc
            theta += tau * theta_dot
        self.state = np.array((x, x_dot, theta, theta_dot), dtype=np.float64)
        terminated = (
            x < -self.x_threshold
            or x > self.x_threshold
            or theta < -self.theta_threshold_radians
            or theta > self.theta_threshold_radians
        )
        return self.state.astype(np.float32), 1.0, terminated, False, {}

    def _accelerations(self, force: float, x_dot: float, theta: float, theta_dot: float) -> tuple[float, float]:
        """Return x'' in m/s^2 and th'' in rad/s^2."""
        sintheta = math.sin(theta)
        costheta = math.cos(theta)
        spin = theta_dot * theta_dot
        weight = self.total_mass * self.gravity
        joint = self.friction_pole * theta_dot / self.polemass_length
        # slide is mu_c sgn(N_c x'); N_c depends on th'', and th'' on slide. Take N_c > 0; turn slide if that was wrong.
        slide = self.friction_cart * ((x_dot > 0.0) - (x_dot < 0.0))
        thetaacc, normal = self._turn(force, sintheta, costheta, spin, joint, slide, weight)
        if normal < 0.0:
            slide = -slide
            thetaacc, normal = self._turn(force, sintheta, costheta, spin, joint, slide, weight)
        xacc = (
            force + self.polemass_length * (spin * sintheta - thetaacc * costheta) - slide * normal
        ) / self.total_mass
        return xacc, thetaacc

    def _turn(
        self, force: float, sintheta: float, costheta: float, spin: float, joint: float, slide: float, weight: float
    ) -> tuple[float, float]:
        """Return th'' and the normal force N_c (newton) that goes with it, for one sign of N_c."""
        temp = (force + self.polemass_length * spin * (sintheta + slide * costheta) - slide * weight) / self.total_mass
        thetaacc = (self.gravity * sintheta - costheta * temp - joint) / (
            self.length * (4.0 / 3.0 - self.masspole * costheta * (costheta - slide * sintheta) / self.total_mass)
        )
        return thetaacc, weight - self.polemass_length * (thetaacc * sintheta + spin * costheta)
