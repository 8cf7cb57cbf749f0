"""A binary peer in its own environment: answers lines "M N K" with the seconds of NumKong's Hamming distances.

Run by the experiment ``bitwise`` with the interpreter of an environment that has ``numkong``; it imports nothing else.
"""

import sys
import time

import numkong
import numpy as np


def main() -> None:
    """Answer until the input ends."""
    rng, matrices = np.random.default_rng(0), {}
    for line in sys.stdin:
        m, n, k = map(int, line.split())
        if (m, n, k) not in matrices:
            a, b = (rng.integers(0, 256, (rows, k // 8), dtype=np.uint8) for rows in (m, n))
            packed = numkong.hammings_pack(b, dtype="uint1")
            got = np.asarray(numkong.hammings_packed(a, packed))
            if not np.array_equal(got[:3, :5], np.bitwise_count(a[:3, None] ^ b[:5]).sum(-1)):
                raise ValueError("the peer counts wrong")
            matrices[m, n, k] = a, packed
        a, packed = matrices[m, n, k]
        before = time.perf_counter()
        numkong.hammings_packed(a, packed)
        print(time.perf_counter() - before, flush=True)


if __name__ == "__main__":
    main()
