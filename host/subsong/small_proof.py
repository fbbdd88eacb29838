"""Known answers for the small firmware, which has no room to try them itself: deploy plays them over the link.

A few trials of both rules and every activation, of layers that hear themselves, with words and costs at their limits
among them; after each trial the whole state must equal what CPython computes.
"""

from subsong.block import build_block
from subsong.bridge import Bridge
from subsong.errors import FirmwareError
from subsong.experiment import parse_experiment
from subsong.ports import Port
from subsong_device import faults, frames

TRIALS = 4
STEPS = (
    (0, (-32768, 32767)), (1 << 28, (1, -1)), (-12345, (-16384, 29127)), (65535, (32767, -32767)),
)  # fmt: skip
NETWORKS = (
    ("weight_perturbation", "two_sided", '"hard_tanh", "identity"', "true, true"),
    ("node_perturbation", "running_baseline", '"tanh", "logistic"', "true, false"),
)


def _experiment(rule: str, estimator: str, activations: str, recurrent: str) -> str:
    return f"""
seed = 7
[network]
layers = [2, 3, 2]
activations = [{activations}]
recurrent = [{recurrent}]
init = 3.0
[learner]
rule = "{rule}"
estimator = "{estimator}"
amplitude = 0.5
rate = 16383
rate_shift = 20
[plant]
kind = "gymnasium"
id = "None-v0"
[run]
trials = 1
steps = 1
"""


def prove_small(port: Port) -> None:
    """Play known answers on a board whose small firmware was just started; the link is closed at the end.

    Raises:
        FirmwareError: the board computes something else than this computer.
        LinkError, BoardError, PortError: the conversation failed.
    """
    from subsong_sim.engines import LocalLearner

    bridge = Bridge(port)
    bridge.hello()
    with bridge:
        for rule, *network in NETWORKS:
            block = build_block(parse_experiment(_experiment(rule, *network), rule))
            bridge.open(block, frames.MAX_DEADMAN_MS // 100)
            local = LocalLearner(block.rule, block.head, block.mem, "cpython")
            for trial in range(TRIALS):
                for learner in (bridge, local):
                    learner.begin(trial, False)
                outputs = [[list(learner.act(*step)) for step in STEPS] for learner in (bridge, local)]
                ends = [learner.end(trial * 1000) for learner in (bridge, local)]
                if outputs[0] != outputs[1] or ends[0][:7] != ends[1][:7] or bridge.state() != local.state():
                    raise FirmwareError(
                        f"port {port.name}: the board computes another trial {trial} of {rule} than this computer; "
                        f"deploy again (subsong deploy --port {port.name}), and if that does not help, report this",
                        faults.KERNELS,
                    )
