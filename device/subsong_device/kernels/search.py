"""What the rules that search share: they keep a perturbation or take it back, and need no rate."""

from subsong_device.kernels.trial import observe
from subsong_device.layout import BASELINE, DELTA, EVALUATE, STARTED, TOTAL


def improved(head: ptr32) -> int:
    """Take the last cost; say whether the trial cost less than every one before it, and note its cost if so.

    Returns:
        1 for the first trial of all that learns and for one whose total is below head[BASELINE], which is its total
        from then on; else 0. An evaluation is 0 and changes nothing.

    Scaling and overflow: |total| and |baseline| <= 2**28, so |delta| <= 2**29.
    """
    observe(head)
    better = 0
    if head[EVALUATE] == 0:
        total = head[TOTAL]
        delta = total - head[BASELINE]
        head[DELTA] = delta
        if head[STARTED] == 0 or delta < 0:
            better = 1
            head[STARTED] = 1
            head[BASELINE] = total
    return better
