"""LLVM in a process of its own: IR comes in as JSON, objects and assembly go out.

    python -m subsong.compiler.llvm < job.json

Its command-line options are global and Numba lives in the same library; and where LLVM meets what it cannot do, it ends
its process.
"""

import base64
import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any, NamedTuple

from subsong.compiler.targets import Target

OPTIONS = (
    # A loop's closed form may need 64-bit products, which these processors lack.
    "-replexitval=never",
)
# Quick code: a loop in which a test always ends alike is there twice, what is called from several places is set in even
# where that is longer than the call, and so is a short end where several ways lead to it. Compact code: none of this.
QUICK = 3, ("-inline-threshold=35", "-tail-dup-placement-threshold=4")
COMPACT = 2, ("-inline-threshold=5",)
# For a loop that LLVM would otherwise give a division: nothing is counted in advance, no index becomes another.
PLAIN_LOOPS = ("-disable-lsr", "-scev-cheap-expansion-budget=0")


class Translated(NamedTuple):
    """One kernel as LLVM returns it: an ELF object, or why there is none."""

    elf: bytes
    assembly: str
    problem: str


def translate(texts: list[str], target: Target) -> list[Translated]:
    """Compile IR texts, each to an object of its own.

    Args:
        texts: IR, one function each.
        target: what for.
    """
    job = json.dumps({"texts": texts, "target": asdict(target)})
    # -P: a llvmlite.py in the user's folder is not the one.
    worker = subprocess.run(
        [sys.executable, "-P", "-m", "subsong.compiler.llvm"], input=job, capture_output=True, text=True, check=False
    )
    lines = worker.stdout.splitlines()
    answers = []
    for number in range(len(texts)):
        if number < len(lines):
            answer = json.loads(lines[number])
            answers.append(Translated(base64.b64decode(answer["elf"]), answer["assembly"], ""))
        else:
            said = [line for line in worker.stderr.splitlines() if "rror" in line]
            answers.append(Translated(b"", "", said[-1].strip() if said else f"ended with code {worker.returncode}"))
            # Those after it are not known to fail.
            if number + 1 < len(texts) and worker.returncode:
                return answers + translate(texts[number + 1 :], target)
    return answers


def _compile(llvm: Any, machine: Any, builder: Any, text: str) -> tuple[bytes, str]:
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module), machine.emit_assembly(module)


def main() -> None:
    """Compile what stdin asks for; a line of JSON a kernel."""
    import llvmlite.binding as llvm

    job = json.load(sys.stdin)
    target = Target(**job["target"])
    level, options = COMPACT if target.compact else QUICK
    for option in (*OPTIONS, *options, *target.options):
        llvm.set_option("subsong", option)
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        architecture = llvm.Target.from_triple(target.triple)
    except RuntimeError:
        sys.exit(f"error: this llvmlite has no back end for {target.triple}: `pip install --force-reinstall llvmlite`")
    machine = architecture.create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="default"
    )
    tuning = llvm.create_pipeline_tuning_options(speed_level=level)
    tuning.loop_unrolling = False
    tuning.loop_interleaving = False
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    for text in job["texts"]:
        elf, assembly = _compile(llvm, machine, builder, text)
        print(json.dumps({"elf": base64.b64encode(elf).decode(), "assembly": assembly}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
