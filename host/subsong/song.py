"""The song that the task "song" asks for: its template, and the numbers of its block."""

import math

SENSORS, MUSCLES = 30, 2  # neurons of HVC; channels of the song
STEPS = 120
SPACING = STEPS // SENSORS  # steps from one neuron's burst to the next
BURST = 8
DELAY = 8
MUSCLE_SHIFT = 2
CEILING_SHIFT = 7  # 128 steps: the song, and what is heard of it late

# A syllable: first and last step, then for each channel (amplitude, cycles).
SYLLABLES = (
    (4, 40, ((0.3, 1.5), (-0.2, 0.5))),
    (48, 80, ((0.25, 1.0), (0.3, 1.5))),
    (86, 118, ((-0.3, 0.5), (0.25, 2.0))),
)


def song_template() -> list[list[float]]:
    """Return the template, STEPS rows of MUSCLES: syllables of windowed sinusoids, silence between them."""
    rows = [[0.0] * MUSCLES for _ in range(STEPS)]
    for first, last, channels in SYLLABLES:
        for t in range(first, last):
            phase = (t - first) / (last - first)
            window = min(1.0, 2 * math.sin(math.pi * phase))
            for i, (amplitude, cycles) in enumerate(channels):
                rows[t][i] = amplitude * window * math.sin(2 * math.pi * cycles * phase)
    return rows
