"""One compression at work: the parent, the samples, the stages that are kept, and the time that is left."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from brittle.auditing.progress import prefixed
from brittle.auditing.run import Subject
from brittle.auditing.store import fingerprint
from brittle.compression.planning.sensitivity import Cache
from brittle.data.dataset import Dataset
from brittle.delivery.clock import Clock
from brittle.delivery.making import compressed, recovered
from brittle.delivery.options import CompressOptions
from brittle.delivery.samples import with_training_part
from brittle.delivery.stages import Made, Stages
from brittle.errors import ModelError
from brittle.evaluation.checkpoint import Memory
from brittle.evaluation.progress import Progress
from brittle.models.messages import first_line


@dataclass(frozen=True, eq=False)
class Job:
    """What every stage needs.

    Attributes:
        parent: the model that is compressed, as the user gave it; never changed.
        model: a copy of it in eval mode on the device of the options.
        data: with the splits train, validation and test.
        source: where the first two come from.
        options: what is asked for.
        stages: where networks are kept.
        folder: where everything else is kept; None for nowhere.
        cache: what plans were found to cost, for all sizes together.
        clock: what time is left.
        progress: told (stage, done, total).
    """

    parent: Subject
    model: nn.Module
    data: Dataset
    source: str
    options: CompressOptions
    stages: Stages
    folder: Path | None
    cache: Cache
    clock: Clock
    progress: Progress | None

    @classmethod
    def begin(
        cls,
        parent: Subject,
        data: Dataset,
        options: CompressOptions,
        folder: Path | None,
        clock: Clock,
        progress: Progress | None,
    ) -> Job:
        """A job whose stages are those of these weights, these samples and these versions.

        Raises:
            DataError: data without the samples that are needed.
            ModelError: a model that cannot be copied.
        """
        whole, source = with_training_part(data)
        stages, cache = Stages(None, ""), Cache()
        if folder is not None:
            mark = hashlib.sha256(fingerprint(parent, whole, options.audit()).encode())
            for name in ("train", "validation"):
                mark.update(whole.split(name).sha256().encode())
            stages = Stages(folder, mark.hexdigest())
            mark.update(f"{options.robust} {options.defended(whole.input_shape)} {options.evidence}".encode())
            cache = Cache(Memory(folder / f"plans-{mark.hexdigest()[:24]}", mark.hexdigest()))
        model = _copied(parent.model, options.device)
        return cls(parent, model, whole, source, options, stages, folder, cache, clock, progress)

    def compressed(self, method: str, keep: float) -> Made:
        """The network that `method` leaves at `keep` of the parameters, before any recovery.

        Raises:
            BrittleError: a size or a network that the method cannot do; TimeIsUpError: the time is over.
        """
        key = self.stages.key("compressed", **self._choices(method, keep))
        self.clock.check()
        told = self.clock.stopping(prefixed(self.progress, f"{method} at {keep:g}: "))
        return self.stages.made(key, lambda: compressed(self, method, keep, told))

    def recovered(self, method: str, keep: float, start: Made) -> Made:
        """The same network after its recovery; `start` itself where there is none.

        Raises:
            BrittleError: a recovery that diverges; TimeIsUpError: the time is over.
        """
        options = self.options
        kind = options.recovery
        if kind is None:
            return start
        facts = self._choices(method, keep) | {
            "finetune": options.finetune,
            "recover": kind,
            "penalties": sorted(options.penalties.items()),
        }
        key = self.stages.key("recovered", **facts)
        self.clock.check()
        told = self.clock.stopping(prefixed(self.progress, f"{method} at {keep:g}: "))
        return self.stages.made(key, lambda: recovered(self, kind, start, self.stages.place(key, ""), told))

    def _choices(self, method: str, keep: float) -> dict[str, object]:
        """What the choice of what stays depends on, beside the samples and the weights."""
        options = self.options
        return {
            "method": method,
            "keep": keep,
            "robust": options.robust,
            "defended": options.defended(self.data.input_shape),
            "flatten": options.flatten,
            "orthonormal": options.orthonormal,
            "evidence": options.evidence,
        }


def _copied(model: nn.Module, device: str) -> nn.Module:
    """A copy to work on, in eval mode; weights that the user holds still may be trained in what is made from it."""
    try:
        return copy.deepcopy(model).to(device).eval().requires_grad_(True)
    except Exception as error:  # tensors with a history, handles, whatever a foreign module holds
        raise ModelError(f"the model cannot be copied ({first_line(error)}): pass a plain nn.Module") from None
