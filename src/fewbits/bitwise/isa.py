"""Which instructions the kernels may use: found at run time, or forced by the environment variable ``FEWBITS_ISA``.

============  ==========================================================================================
``plain``     portable code as LLVM compiles it
``avx2``      x86-64 with AVX2, registers of 32 bytes: ``vpshufb`` looks up, ``vpmaddubsw`` multiplies
``avx512``    and AVX-512 F, BW, DQ, VL: registers of 64 bytes
``vnni``      and VNNI: ``vpdpbusd`` adds four products of bytes to an int32
``vpopcnt``   and VPOPCNTDQ: ``vpopcntq`` counts the ones of eight words
============  ==========================================================================================

Each path has the instructions of those before it. A product has kernels for some paths and takes the last of them that
the processor, or the variable, allows: :func:`best`.
"""

import os
from collections.abc import Iterable

import llvmlite.binding
import numba

_AVX512 = {"avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
# Path -> the features that it needs, as LLVM names them.
NEEDED: dict[str, set[str]] = {
    "plain": set(),
    "avx2": {"avx2"},
    "avx512": _AVX512,
    "vnni": _AVX512 | {"avx512vnni"},
    "vpopcnt": _AVX512 | {"avx512vnni", "avx512vpopcntdq"},
}
NAMES = tuple(NEEDED)


def features() -> set[str]:
    """Instruction sets that Numba compiles for: the host's, or those of ``NUMBA_CPU_FEATURES``."""
    forced = vars(numba.config)["CPU_FEATURES"]  # numba.config sets its names at run time
    if forced is not None:
        return {name[1:] for name in forced.split(",") if name.startswith("+")}
    return {name for name, present in llvmlite.binding.get_host_cpu_features().items() if present}


def available() -> list[str]:
    """Names of the paths that this processor can run, the one with the fewest instructions first."""
    present = features()
    return [name for name in NAMES if NEEDED[name] <= present]


def chosen() -> str:
    """The last path that kernels may take: ``$FEWBITS_ISA`` if set, else the last of :func:`available`.

    Raises:
        ValueError: ``$FEWBITS_ISA`` names no path, or one that this processor lacks.
    """
    wanted = os.environ.get("FEWBITS_ISA")
    if not wanted:
        return available()[-1]
    if wanted not in NAMES:
        raise ValueError(f"FEWBITS_ISA must be one of {', '.join(NAMES)}, got {wanted!r}")
    if wanted not in available():
        lacking = ", ".join(sorted(NEEDED[wanted] - features()))
        raise ValueError(f"FEWBITS_ISA={wanted} needs {lacking}, which this processor lacks")
    return wanted


def best(kernels: Iterable[str]) -> str:
    """The last of the paths ``kernels`` that is not after :func:`chosen`.

    Args:
        kernels: names of paths, "plain" among them.
    """
    limit = NAMES.index(chosen())
    return max((name for name in kernels if NAMES.index(name) <= limit), key=NAMES.index)
