"""The state of a run: everything that the rest of it depends on, taken between steps and put back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from brittle.evaluation.checkpoint import State
from brittle.results.serialise import from_dict, to_dict
from brittle.results.training import EpochRow, Tracked
from brittle.training.booking import Progressed
from brittle.training.checkpoint import optimiser_tensors, part, restore_optimisers, under
from brittle.training.engine_run import Run
from brittle.training.noise import stream


def run_state(run: Run, seconds: float) -> State:
    """Everything the rest of the run depends on; `seconds` it has taken so far."""
    tensors = {
        **under("model", run.model.state_dict()),
        **under("best", run.best),
        **under("optimiser", optimiser_tensors(run.optimisers)),
        **under("generator", {name: g.get_state() for name, g in run.generators.items()}),
        **under("objective", run.loss.state()),
        **under("added", run.added.state()),
        **under("place", run.place.state()),
        **under("dropout", {"cpu": torch.default_generator.get_state()}),
    }
    if run.device.type == "cuda":
        tensors["dropout/cuda"] = torch.cuda.get_rng_state(run.device)
    if run.order is not None:
        tensors["order"] = run.order
    values: dict[str, Any] = {**asdict(run.at), "seconds": seconds, "rows": [to_dict(row) for row in run.rows]}
    values["start"] = None if run.start is None else to_dict(run.start)
    return State(tensors, values)


def restore_run(run: Run, state: State) -> None:
    """Let `run` go on from what `run_state` gave, to the same bits on the same machine in one process."""
    values = dict(state.values)
    run.rows = [from_dict(EpochRow, row) for row in values.pop("rows")]
    start = values.pop("start")
    run.start = None if start is None else from_dict(Tracked, start)
    run.at = Progressed(**{**values, "best": tuple(values["best"])})
    run.model.load_state_dict({**run.model.state_dict(), **part("model", state)})
    run.best = {**run.best, **{k: v.to(run.best[k].device) for k, v in part("best", state).items()}}
    restore_optimisers(run.optimisers, part("optimiser", state))
    for name, kept in part("generator", state).items():
        run.generators[name].set_state(kept)
    run.loss.restore(part("objective", state))
    run.added.restore(part("added", state))
    run.place.restore(part("place", state))
    torch.default_generator.set_state(state.tensors["dropout/cpu"])
    if run.device.type == "cuda":
        torch.cuda.set_rng_state(state.tensors["dropout/cuda"], run.device)
    run.order = state.tensors.get("order")
    if run.place.rank:  # what was written are process 0's numbers: the others need other ones
        fresh = stream(run.seed, f"objective/{run.place.rank}/{run.at.step}")
        run.generators["objective"] = fresh
        torch.manual_seed(int(fresh.initial_seed()) % 2**63)
