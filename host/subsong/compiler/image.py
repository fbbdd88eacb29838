"""From an ELF object to plain words: what is more than one self-contained run of code is refused, with its line."""

import io
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from subsong.errors import CompileError

_ALLOC, _EXECUTE = 0x2, 0x4
# Says that a kernel is never unwound; nothing on a board reads it.
_UNWIND = ".ARM.exidx"


def code_of(elf: bytes, name: str, target: str, where: str) -> bytes:
    """Return a kernel's code.

    Args:
        elf: the object.
        name: of the kernel, whose entry is the first byte.
        target: for the message.
        where: FILE:LINE of the kernel.

    Raises:
        CompileError: the code refers to something outside itself; the message begins with the statement's FILE:LINE.
    """
    try:
        return _checked(ELFFile(io.BytesIO(elf)), name, target, where)
    except ELFError as e:
        raise CompileError(f"{where}: LLVM's object for kernel {name} cannot be read ({e}); report this") from e


def _checked(elf: Any, name: str, target: str, where: str) -> bytes:
    code = [s for s in elf.iter_sections() if s["sh_flags"] & _EXECUTE and s["sh_size"]]
    if len(code) != 1:
        raise CompileError(f"{where}: kernel {name} became {len(code)} runs of code for {target}; report this")
    index = list(elf.iter_sections()).index(code[0])
    for section in elf.iter_sections():
        if section["sh_type"] in ("SHT_REL", "SHT_RELA") and section["sh_info"] == index:
            for relocation in section.iter_relocations():
                symbol = elf.get_section(section["sh_link"]).get_symbol(relocation["r_info_sym"])
                place = _line(elf, relocation["r_offset"]) or where
                what = symbol.name or "a table of constants"
                raise CompileError(
                    f"{place}: kernel {name} needs {what}, for which {target} has no instruction;"
                    f" write this statement in simpler operations"
                )
    for section in elf.iter_sections():
        held = section["sh_flags"] & _ALLOC and section["sh_size"]
        if held and section is not code[0] and section.name not in (code[0].name, _UNWIND):
            raise CompileError(
                f"{where}: kernel {name} keeps {section['sh_size']} bytes in {section.name} for {target}, and only code"
                f" has a place; keep tables in a buffer"
            )
    entries = [s for s in elf.get_section_by_name(".symtab").iter_symbols() if s.name == name]
    if [s["st_value"] & ~1 for s in entries] != [0] or entries[0]["st_shndx"] != index:
        raise CompileError(f"{where}: kernel {name} does not begin at its first byte for {target}; report this")
    data: bytes = code[0].data()
    return data + bytes(len(data) & 1)


def _line(elf: Any, offset: int) -> str:
    """Return FILE:LINE of the statement that an offset into the code belongs to, or nothing."""
    found = ""
    for address, place in lines_of(elf):
        if address > offset:
            break
        found = place
    return found


def lines_of(elf: Any) -> list[tuple[int, str]]:
    """Return (offset, FILE:LINE), in order of offsets: from there on the code belongs to that statement."""
    found = []
    # Unrelocated, addresses count from the code's first byte; pyelftools knows no relocation of 32-bit RISC-V.
    dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        header = program.header
        for entry in program.get_entries():
            state = entry.state
            if state is not None and not state.end_sequence and state.line:
                file = header.file_entry[state.file - 1]
                folder = header.include_directory[file.dir_index - 1].decode() if file.dir_index else "."
                found.append((state.address, f"{Path(folder, file.name.decode())}:{state.line}"))
    return sorted(found, key=lambda entry: entry[0])
