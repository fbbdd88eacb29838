"""Vector code as machine code of this computer's processor, kept on disk, loaded where it is called."""

import hashlib
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from subsong_sim.cache import cache_folder, keep

# 512 bits where the processor has them; it would otherwise use halves. No call of memset: the object stands alone.
ATTRIBUTES = 'nounwind "no-builtins" "prefer-vector-width"="512" "min-legal-vector-width"="512"'


def processor() -> str:
    """Return the processor's name and features, which machine code is made for."""
    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def kept(what: bytes) -> Path:
    """Return where the object that belongs to a description is kept, for this processor and this compiler."""
    made_by = repr((processor(), llvmlite.__version__, llvm.llvm_version_info))
    key = hashlib.sha256(what + made_by.encode()).hexdigest()
    return cache_folder() / "lanes" / f"{key}.o"


def translate(text: str, path: Path, *, unrolling: bool) -> bytes:
    """Compile IR for this processor; keep the object at a path of the cache.

    Args:
        text: the IR.
        path: where it is kept.
        unrolling: LLVM may write loops turn by turn. It does so before it makes vectors of what is still a loop.
    """
    machine = _machine()
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_unrolling = unrolling
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    keep(path, hashlib.sha256(code).digest() + code)
    return code


def found(path: Path) -> bytes | None:
    """Return what is kept; None where there is nothing, or it was cut or altered."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data[32:] if hashlib.sha256(data[32:]).digest() == data[:32] else None


def load(code: bytes) -> Any:
    """Return an engine that holds an object's functions; they live as long as it does."""
    module = llvm.parse_assembly("")
    machine = _machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine


def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="pic",
        codemodel="jitdefault",
    )
