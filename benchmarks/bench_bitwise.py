"""The binary product against float32: 1024 × 4096 by 4096 × 1024 signs, one thread and two.

The whole race, which the chapter ``bitwise`` shows, is ``python -m fewbits.experiments bitwise``.
"""

import torch
from turns import print_ratios

from fewbits.bitwise import isa
from fewbits.bitwise.gemm import LAYOUTS, prepare, xnor_gemm
from fewbits.bitwise.pack import sign_words
from fewbits.experiments.bitwise.claims import ROOFS
from fewbits.experiments.bitwise.roofs import roofs


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    a, w = (torch.randn(1024, 4096, generator=generator) for _ in range(2))
    words, weights = sign_words(a.numpy()), prepare(sign_words(w.numpy()))
    path = isa.best(LAYOUTS)
    roof = ROOFS.get(path)
    limit = f", roof of its instructions {roofs()[roof]:.0f} GOP/s" if roof else ""
    print(f"1024 × 1024 × 4096 (8.6 GOP), path {path}{limit}")
    print_ratios(
        {
            "float32": lambda: a @ w.T,
            "xnor": lambda: xnor_gemm(words, weights, 4096),
            "xnor, with packing": lambda: xnor_gemm(sign_words(a.numpy()), weights, 4096),
            "xnor, two threads": lambda: xnor_gemm(words, weights, 4096, threads=2),
        },
        reference="float32",
    )


if __name__ == "__main__":
    main()
