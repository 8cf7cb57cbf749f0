"""Which instructions the kernels may use: found at run time, or forced by the environment variable ``FEWBITS_ISA``.

============  ==========================================================================================
``plain``     Python loops over 64-bit words, compiled by Numba for whatever the processor has
``avx2``      look-up tables in registers by ``vpshufb``: x86-64 with AVX2
``avx512``    the same source as ``plain``; LLVM turns its population count into ``vpopcntq`` on 512 bits
============  ==========================================================================================
"""

import os

import llvmlite.binding
import numba

NAMES = ("plain", "avx2", "avx512")
_NEEDED = {"plain": set(), "avx2": {"avx2"}, "avx512": {"avx512f", "avx512bw", "avx512vpopcntdq"}}


def features() -> set[str]:
    """Instruction sets that Numba compiles for: the host's, or those of ``NUMBA_CPU_FEATURES``."""
    forced = vars(numba.config)["CPU_FEATURES"]  # numba.config sets its names at run time
    if forced is not None:
        return {name[1:] for name in forced.split(",") if name.startswith("+")}
    return {name for name, present in llvmlite.binding.get_host_cpu_features().items() if present}


def available() -> list[str]:
    """Names of the paths that this processor can run, the slowest first."""
    present = features()
    return [name for name in NAMES if _NEEDED[name] <= present]


def chosen() -> str:
    """The path that the kernels take: ``$FEWBITS_ISA`` if set, else the last of :func:`available`.

    Raises:
        ValueError: ``$FEWBITS_ISA`` names no path, or one that this processor lacks.
    """
    wanted = os.environ.get("FEWBITS_ISA")
    if not wanted:
        return available()[-1]
    if wanted not in NAMES:
        raise ValueError(f"FEWBITS_ISA must be one of {', '.join(NAMES)}, got {wanted!r}")
    if wanted not in available():
        raise ValueError(f"FEWBITS_ISA={wanted} needs {', '.join(sorted(_NEEDED[wanted]))}, which this processor lacks")
    return wanted
