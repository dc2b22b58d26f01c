"""How tight and how fast the l_2 norms of convolutions are, on the twenty convolutions of ResNet-18.

    OMP_NUM_THREADS=1 python -m benchmarks.conv_norms [PIXELS ...]      (defaults: 32 224)

`truth` is the largest singular value by ARPACK on the operator itself, run to convergence. Seconds are CPU seconds.
"""

from __future__ import annotations

import sys
import time

from tests.cases import RESNET18
from tests.operators.reference import true_spectral_norm


def main(pixels: list[int]) -> None:
    for size in pixels:
        print(f"\nResNet-18 at {size}")
        print(f"{'layer':22}{'map':>5}{'truth':>10}{'upper/truth':>13}{'lower/truth':>13}{'seconds':>9}")
        ratios, total = [], 0.0
        for shape in RESNET18:
            view = shape.view(size)
            start = time.process_time()
            bound = view.spectral_norm()
            seconds = time.process_time() - start
            truth = true_spectral_norm(view)
            ratios.append(bound.value / truth)
            total += seconds
            print(
                f"{shape.name:22}{view.in_shape[-1]:5}{truth:10.3f}{ratios[-1]:13.6f}{bound.lower / truth:13.6f}"
                f"{seconds:9.2f}  {bound.status}",
                flush=True,
            )
        print(f"mean upper/truth {sum(ratios) / len(ratios):.5f}, largest {max(ratios):.5f}, {total:.1f} CPU seconds")


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [32, 224])
