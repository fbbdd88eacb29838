"""Whether a task's block lies within itself: asked once, before any kernel runs."""

from subsong_device import layout
from subsong_device.faults import BLOCK, Fault

TASK_KINDS = ("patterns", "linear_teacher", "letters", "extended", "lqr", "delayed_match", "sequence", "song")
LQR_MOST = 8

# Of each kind: words that must not exceed something.
_MOST = (
    (),
    (
        (layout.TEACHER_SIGNS, 1),
        (layout.TEACHER_UNIT, 8192),
        (layout.TEACHER_PRODUCT_SHIFT, 15),
        (layout.TEACHER_DRIVE_SHIFT, 30),
        (layout.TEACHER_COST_SHIFT, 30),
        (layout.TEACHER_NOISE_SIZE, 0x7FFF),
        (layout.TEACHER_NOISE_SHIFT, 8),
    ),
    ((layout.LETTERS_STRIDE, layout.LETTERS_IMAGES - 1), (layout.LETTERS_COST_SHIFT, 30)),
    ((layout.EXTENDED_COST_SHIFT, 30),),
    (
        (layout.LQR_START, 0x7FFF),
        (layout.LQR_NOISE, 0x7FFF),
        (layout.LQR_Q, 4095),
        (layout.LQR_Q_SHIFT, 30),
    ),
    ((layout.TASK_COUNT, 16384), (layout.MATCH_COST_SHIFT, 30)),
    ((layout.SEQUENCE_COST_SHIFT, 30),),
    ((layout.SONG_MUSCLE_SHIFT, 15), (layout.SONG_CEILING_SHIFT, 28)),
)


def task_words(kind, count, n_sensors, n_actuators, cue_steps=0, delay=0):
    """Return how many words a task's kernels use."""
    if kind == layout.LINEAR_TEACHER:
        return layout.TEACHER_DATA + (n_sensors + 1) * n_actuators
    if kind == layout.LETTERS:
        return layout.LETTERS_DATA + 36
    if kind == layout.EXTENDED:
        return layout.EXTENDED_DATA + count * (n_sensors + n_actuators)
    if kind == layout.LQR:
        return layout.LQR_STATE + n_sensors * (n_sensors + 4)
    if kind == layout.DELAYED_MATCH:
        return layout.MATCH_COST_SHIFT + 1
    if kind == layout.SEQUENCE:
        return layout.SEQUENCE_DATA + n_sensors * (count - cue_steps) * n_actuators
    if kind == layout.SONG:
        return layout.SONG_TEMPLATE + (count + 1) * n_actuators + 2 * delay
    return layout.TASK_DATA + count * (n_sensors + n_actuators)


def check_task(task, n_sensors, n_actuators):
    """Check everything in a task's block, array('H'), that kernels use as a count, an offset or a shift.

    Args:
        task: the block.
        n_sensors: the network's inputs.
        n_actuators: its outputs.

    Raises:
        Fault: BLOCK, its detail 65536 plus the word of the task that is wrong.
    """
    _need(len(task) > layout.TASK_DATA, 0)
    kind = task[layout.TASK_KIND]
    _need(kind < len(TASK_KINDS), layout.TASK_KIND)
    _need(task[layout.TASK_INPUTS] == n_sensors, layout.TASK_INPUTS)
    _need(task[layout.TASK_OUTPUTS] == n_actuators, layout.TASK_OUTPUTS)
    _need(task[layout.TASK_ERROR_SHIFT] < 16, layout.TASK_ERROR_SHIFT)
    count = task[layout.TASK_COUNT]
    _need(count > 0, layout.TASK_COUNT)
    if kind == layout.LETTERS:
        _need(n_sensors == 49, layout.TASK_INPUTS)
        _need(n_actuators == 4, layout.TASK_OUTPUTS)
        _need(count == layout.LETTERS_IMAGES, layout.TASK_COUNT)
    elif kind == layout.LQR:
        _need(n_sensors == n_actuators <= LQR_MOST, layout.TASK_OUTPUTS)
    if kind in (layout.LINEAR_TEACHER, layout.LQR):
        _need(count == 1, layout.TASK_COUNT)
    cue_steps = 0
    if kind == layout.DELAYED_MATCH:
        _need(n_sensors > 1, layout.TASK_INPUTS)
        _need(n_actuators == 1, layout.TASK_OUTPUTS)
    elif kind == layout.SEQUENCE:
        _need(len(task) > layout.SEQUENCE_DATA, layout.TASK_COUNT)
        cue_steps = task[layout.SEQUENCE_CUE_STEPS]
        _need(cue_steps < count, layout.SEQUENCE_CUE_STEPS)
        _need(task[layout.SEQUENCE_CHOICE] < n_sensors, layout.SEQUENCE_CHOICE)
    delay = 0
    if kind == layout.SONG:
        _need(len(task) > layout.SONG_TEMPLATE, layout.TASK_COUNT)
        delay = task[layout.SONG_DELAY]
        _need(task[layout.SONG_RING] < max(delay, 1), layout.SONG_RING)
    _need(task_words(kind, count, n_sensors, n_actuators, cue_steps, delay) <= len(task), layout.TASK_COUNT)
    if kind == layout.DELAYED_MATCH:
        _need(task[layout.MATCH_CUE] < n_sensors, layout.MATCH_CUE)
        _need(task[layout.MATCH_PROBE] < n_sensors, layout.MATCH_PROBE)
    for at in (layout.TASK_NEXT, layout.TASK_START, layout.TASK_RESUME):
        _need(task[at] < count, at)
    for at, most in _MOST[kind]:
        _need(task[at] <= most, at)
    if kind == layout.LINEAR_TEACHER:
        _need(n_sensors < 1 << task[layout.TEACHER_PRODUCT_SHIFT], layout.TEACHER_PRODUCT_SHIFT)


def _need(condition, word):
    if not condition:
        raise Fault(BLOCK, 0x10000 + word)
