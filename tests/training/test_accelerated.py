"""Mixed precision and several processes through accelerate: the same run where nothing is mixed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from brittle.errors import UsageError
from brittle.training.accelerated import Accelerated
from brittle.training.engine import train
from brittle.training.plan import Dynamics, Plan
from tests.training.toys import Counting, digits, mlp, same

needed = pytest.mark.skipif(find_spec("accelerate") is None, reason="accelerate is not installed (extra `train`)")
PLAN = Plan(Dynamics(3, batch_size=50, learning_rate=1e-2, clip=1.0))


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """accelerate keeps one state for each process: a test must not meet another one's."""
    yield
    if find_spec("accelerate") is not None:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(True)


@needed
def test_one_process_without_mixing_is_the_plain_run() -> None:
    plain = train(mlp(), *digits(120), PLAN, seed=0)
    place = Accelerated(cpu=True)
    placed = train(mlp(), *digits(120), PLAN, seed=0, place=place)
    assert same(plain.model.state_dict(), placed.model.state_dict())
    assert placed.history.settings.precision == "float32"
    assert (place.rank, place.world, place.state()) == (0, 1, {})
    assert repr(place) == "Accelerated('no', device='cpu', world=1)"


@needed
def test_bf16_computes_in_bf16_and_keeps_float32_weights() -> None:
    formats = set()

    class Spying(Counting):
        def start(self):  # type: ignore[no-untyped-def]
            inner = super().start()

            def loss(model, x, y, generator):  # type: ignore[no-untyped-def]
                formats.add(model(x).dtype)
                return inner(model, x, y, generator)

            loss.state, loss.restore = inner.state, inner.restore  # type: ignore[attr-defined]
            return loss

    plan = Plan(Dynamics(8, batch_size=25, learning_rate=1e-2), Spying())
    trained = train(mlp(), *digits(150), plan, seed=0, place=Accelerated("bf16", cpu=True))
    assert formats == {torch.bfloat16}
    assert {p.dtype for p in trained.model.parameters()} == {torch.float32}
    assert trained.history.settings.precision == "bf16 mixed"
    assert trained.history.rows[-1].loss < 0.7 * trained.history.rows[0].loss


@needed
def test_what_cannot_be_had_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown mixed precision 'half': expected one of no, bf16, fp16"):
        Accelerated("half")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="mixed precision fp16 needs a GPU, got device cpu: take bf16 or no"):
            Accelerated("fp16", cpu=True)


@needed
def test_one_process_computes_in_one_way() -> None:
    Accelerated("bf16", cpu=True)
    with pytest.raises(UsageError, match=r"cannot train in mixed precision 'no' here: ValueError: .*: start another"):
        Accelerated("no", cpu=True)


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"need the package accelerate: install brittle with its extra \[train\]"):
        Accelerated()


PROCESS = """
import sys
import torch
from safetensors.torch import save_file
from brittle.training.accelerated import Accelerated
from brittle.training.engine import train
from tests.training.test_accelerated import PLAN
from tests.training.toys import digits, mlp

torch.set_num_threads(1)
place = Accelerated(cpu=True)
assert place.world == 2
trained = train(mlp().double(), *digits(120), PLAN, seed=0, place=place)
save_file(trained.model.state_dict(), f"{sys.argv[1]}-{place.rank}")
"""


@needed
@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot connect processes")
def test_two_processes_share_a_run(tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(PROCESS)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    process = subprocess.Popen(
        [*command, str(tmp_path / "weights")],
        env={**os.environ, "PYTHONPATH": str(root), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        assert process.wait(timeout=200) == 0
    finally:
        with suppress(ProcessLookupError):  # the launcher's children go with it
            os.killpg(process.pid, signal.SIGKILL)
    alone = train(mlp().double(), *digits(120), PLAN, seed=0).model.state_dict()
    first, second = (load_file(tmp_path / f"weights-{rank}") for rank in (0, 1))
    assert same(first, second)
    for name, weight in alone.items():
        torch.testing.assert_close(first[name], weight, rtol=1e-9, atol=1e-10)
