"""A plant of C functions as a Plant: the functions that compiled loops call, called step by step.

So every engine gives the same words.
"""

import ctypes
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from subsong_sim.errors import PlantError
from subsong_sim.plants.base import check_seed, check_words, not_a_number
from subsong_sim.plants.compiled import Functions

_DOUBLES, _WORDS, _COSTS = (ctypes.POINTER(kind) for kind in (ctypes.c_double, ctypes.c_uint16, ctypes.c_int32))


class CompiledPlant:
    """A compiled plant. Compiled loops take the attributes, and no more, from it.

    Attributes:
        name: of the plant, in messages.
        functions: what it does.
        settings: float64, as the functions take them.
        state_words: length of their state, float64.
        episode_steps: of an episode, at most.
        n_sensors, n_actuators: how many words there are.
        description: one line.
    """

    def __init__(
        self,
        name: str,
        functions: Functions,
        settings: NDArray[np.float64],
        *,
        state_words: int,
        episode_steps: int,
        n_sensors: int,
        n_actuators: int,
        description: str,
    ) -> None:
        self.name, self.functions, self.settings, self.description = name, functions, settings, description
        self.state_words, self.episode_steps = state_words, episode_steps
        self.n_sensors, self.n_actuators = n_sensors, n_actuators
        self.done = False
        self._state = np.zeros(state_words)
        self._x, self._u = np.zeros(n_sensors, np.uint16), np.zeros(n_actuators, np.uint16)
        self._paid = np.zeros(1, np.int32)
        self._own = self._state.ctypes.data_as(_DOUBLES), settings.ctypes.data_as(_DOUBLES)
        self._sensing = *self._own, self._x.ctypes.data_as(_WORDS), 1
        self._driving = *self._own, self._u.ctypes.data_as(_WORDS), 1, self._paid.ctypes.data_as(_COSTS)
        self._words: list[int] | None = None  # None before the first reset
        self._seed = self._step = 0

    def reset(self, seed: int) -> None:
        """Begin an episode in the plant's starting state for this seed."""
        self._seed = check_seed(seed)
        self._step = self._paid[0] = 0
        self.functions.start.ctypes(self._seed, *self._own)
        self.done = False
        self._sense()

    def sense(self) -> list[int]:
        """Return the sensors' words."""
        if self._words is None:
            raise PlantError(f"{self.name}: sense() before the first reset()")
        return self._words

    def actuate(self, u: Sequence[int]) -> None:
        """Take one step.

        Raises:
            PlantError: there was no reset, the episode is over, the words are no int16 or too few or many, or the
                plant has left what its equations can compute.
        """
        if self._words is None or self.done:
            raise PlantError(f"{self.name}: actuate() {'after the episode ended' if self.done else 'before reset()'}")
        check_words(u, self.n_actuators, self.name)
        for i, word in enumerate(u):
            self._u[i] = word & 0xFFFF
        self._step += 1
        said = self.functions.step.ctypes(*self._driving)
        if said < 0:
            raise not_a_number(self.name, said, self._step, self._seed)
        self.done = said > 0 or self._step >= self.episode_steps
        self._sense()

    def cost(self) -> int:
        """Return the cost of the last step, counts."""
        return int(self._paid[0])

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _sense(self) -> None:
        said = self.functions.sense.ctypes(*self._sensing)
        if said:
            raise not_a_number(self.name, said, self._step, self._seed)
        self._words = self._x.view(np.int16).tolist()
