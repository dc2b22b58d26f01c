"""The full preset: the quick one, and MNIST, Fashion-MNIST and CIFAR-10 with MLP, CNN, ResNet and ViT.

Radii are those at which a dense network of one seed keeps 60 to 75 % of its accuracy; ladders end before networks
collapse, as seen on one seed at their ends. On one core: MNIST about 1 hour, Fashion-MNIST 4, CIFAR-10 with the ResNet
3.5 and with the ViT 2. On CIFAR-10 only low rank is run with the scale free: other free cells decide nothing there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from brittle.studies.claims.quick import SEEDS, quick_settings
from brittle.studies.claims.setting import Adversarial, Setting, Strengths, Transfer
from brittle.studies.trial import Threat, Training, Trial

# The ladders that need no data set of their own.
_HELD: Final = Strengths(
    group_lasso=(0.003, 0.01, 0.02, 0.035, 0.06),
    nuclear=(0.003, 0.01, 0.02, 0.035, 0.06),
    ranks=(32, 16, 8, 4, 2),
)
_FREE: Final = Strengths(
    group_lasso=(0.0003, 0.001, 0.002, 0.004, 0.008),
    nuclear=(0.0003, 0.001, 0.002, 0.004, 0.008),
    ranks=(32, 16, 8, 4, 2),
)
# Below the full rank of the widest layer there.
_SMALL_RANKS: Final = (16, 8, 4, 2, 1)
_CIFAR_HELD: Final = Strengths(group_lasso=_HELD.group_lasso, nuclear=_HELD.nuclear, ranks=_SMALL_RANKS)
_CIFAR_FREE: Final = Strengths(ranks=_SMALL_RANKS)


def full_settings(data_dir: Path) -> tuple[Setting, ...]:
    """The quick settings first, then from cheap to dear.

    Args:
        data_dir: holds the folders mnist, fashion_mnist and cifar10_jpeg.
    """
    mnist = f"mnist:{data_dir / 'mnist'}"
    fashion = f"fashion-mnist:{data_dir / 'fashion_mnist'}"
    cifar = f"cifar10:{data_dir / 'cifar10_jpeg'}"
    return (
        *quick_settings(),
        _mnist(mnist),
        _fashion(fashion, mnist),
        _cifar_resnet(cifar),
        _cifar_vit(cifar),
    )


def _ball(norm: str, epsilon: float) -> Threat:
    return Threat.model_validate({"norm": norm, "epsilon": epsilon})


def _with_rest(strengths: Strengths, planted: bool) -> Strengths:
    """With the sources of C6 and, at the dense network's own scale, the planted effects and the control of scale."""
    rest = {"widths": (0.5, 0.25), "keeps": (0.6, 0.4, 0.3, 0.2), "rates": (0.0005, 0.01), "decays": (0.1, 1.0)}
    if planted:
        rest |= {"planted": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "scales": (1.0, 1.25, 1.5, 2.0, 3.0)}
    return Strengths(group_lasso=strengths.group_lasso, nuclear=strengths.nuclear, ranks=strengths.ranks, **rest)


def _mnist(data: str) -> Setting:
    linf, l2 = _ball("linf", 0.04), _ball("l2", 0.6)
    run = Training(epochs=8, learning_rate=2e-3)
    hardened = Training(epochs=4, learning_rate=2e-3, adversarial="pgd", epsilon=0.04, norm="linf")
    return Setting(
        name="MNIST MLP",
        base=Trial(data=data, train=10_000, test=500, model="zoo:mlp?width=100&depth=2", training=run),
        seeds=SEEDS,
        linf=linf,
        l2=l2,
        wide=_ball("linf", 0.1),
        held=_with_rest(_HELD, planted=False),
        free=_with_rest(_FREE, planted=True),
        adversarial=Adversarial(hardened, Strengths(group_lasso=_HELD.group_lasso, ranks=_HELD.ranks)),
    )


def _fashion(data: str, other: str) -> Setting:
    linf, l2 = _ball("linf", 0.02), _ball("l2", 0.45)
    run = Training(epochs=6, learning_rate=3e-3)
    hardened = Training(epochs=3, learning_rate=3e-3, adversarial="pgd", epsilon=0.02, norm="linf")
    ladders = Strengths(group_lasso=_HELD.group_lasso, ranks=_HELD.ranks)
    return Setting(
        name="Fashion-MNIST CNN",
        base=Trial(data=data, train=10_000, test=300, model="zoo:cnn?channels=8,16&fc=64", training=run),
        seeds=SEEDS,
        linf=linf,
        l2=l2,
        wide=_ball("linf", 0.08),
        held=_with_rest(_HELD, planted=False),
        free=_with_rest(_FREE, planted=True),
        adversarial=Adversarial(hardened, ladders),
        transfer=Transfer(data, other, linf, l2, ladders),
    )


def _cifar_resnet(data: str) -> Setting:
    return Setting(
        name="CIFAR-10 ResNet",
        base=Trial(
            data=data,
            train=8_000,
            test=300,
            model="zoo:resnet?depth=8&width=8",
            training=Training(epochs=8, learning_rate=5e-3),
        ),
        seeds=SEEDS,
        linf=_ball("linf", 0.002),
        l2=_ball("l2", 0.07),
        wide=_ball("linf", 0.03),
        held=_CIFAR_HELD,
        free=_CIFAR_FREE,
        bounded=False,
    )


def _cifar_vit(data: str) -> Setting:
    return Setting(
        name="CIFAR-10 ViT",
        base=Trial(
            data=data,
            train=10_000,
            test=300,
            model="zoo:vit?dim=48&depth=2&patch=8",
            training=Training(epochs=12, learning_rate=2e-3),
        ),
        seeds=SEEDS,
        linf=_ball("linf", 0.004),
        l2=_ball("l2", 0.12),
        wide=_ball("linf", 0.03),
        held=_CIFAR_HELD,
        free=_CIFAR_FREE,
        bounded=False,
    )
