"""Study files: YAML, read with the line of everything, so that an error says where it stands."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Final

import yaml

from brittle.errors import DataError, UsageError
from brittle.studies.checked import checked
from brittle.studies.problems import Place, dotted, sentence
from brittle.studies.study import Study

# A study file is written by hand; repeated aliases could make a small file a huge value.
_MOST_NODES: Final = 100_000
# "1e-3" is text in YAML 1.1, which nobody means.
_EXPONENT: Final = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_TAG: Final = "tag:yaml.org,2002:"


def read_study(path: str | Path) -> Study:
    """The study in a YAML file, all its trials checked. Nothing in the file is run.

    Raises:
        DataError: no such file, or none that can be read as text.
        UsageError: no YAML, an unknown or repeated key, an impossible value: one line that begins with FILE:LINE; of
            several the first, and how many more there are.
    """
    reader = _Reader(path)
    values = reader.values(_text(path))
    study, problems = checked(values)
    if study is None:
        problems = sorted(problems, key=lambda problem: reader.line(problem.place))
        raise reader.refusal(problems[0].place, sentence(problems))
    return study


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"no such file: {path}; expected a study as YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise DataError(f"cannot read {path} ({said}): give a study as YAML") from None


class _Reader:
    """Plain values out of a file, and the line where each of them starts."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._lines: dict[Place, int] = {(): 1}
        self._count = 0

    def line(self, place: Place) -> int:
        """Counted from 1: of the place, or of the nearest one around it that the file has."""
        while place not in self._lines:
            # A single grid may stand without a list around it.
            short = tuple(part for i, part in enumerate(place) if not (part == 0 and i == 1))
            if place[:1] == ("grid",) and short in self._lines:
                return self._lines[short]
            place = place[:-1]
        return self._lines[place]

    def refusal(self, place: Place, text: str) -> UsageError:
        return UsageError(f"{self._path}:{self.line(place)}: {text}")

    def values(self, text: str) -> dict[str, Any]:
        try:
            loader = yaml.SafeLoader(text)
            try:
                node = loader.get_single_node()
                values = None if node is None else self._value(loader, node, (), ())
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._lines[()] = mark.line + 1 if mark else 1
            raise self.refusal((), f"this is no YAML: {error.problem or error.context}") from None
        except (yaml.YAMLError, RecursionError) as error:
            raise self.refusal((), f"this is no YAML: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise self.refusal((), "expected a study: a mapping with the keys name, question, base, grid, ...")
        return values

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, place: Place, around: tuple[yaml.Node, ...]) -> Any:
        self._lines[place] = node.start_mark.line + 1
        self._count += 1
        if self._count > _MOST_NODES or node in around:
            raise self.refusal(place, "the file's aliases make it endless or huge: write the values out")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, place, (*around, node))
        if isinstance(node, yaml.SequenceNode):
            inside = (*around, node)
            return [self._value(loader, item, (*place, i), inside) for i, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(loader, node, place)

    def _mapping(
        self, loader: yaml.SafeLoader, node: yaml.MappingNode, place: Place, around: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            self._lines[(*place, str(key.value))] = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                name = dotted((*place, str(key.value)))
                text = f"{name} is given twice: keep one" if isinstance(key, yaml.ScalarNode) else "a key must be text"
                raise self.refusal((*place, str(key.value)), text)
            seen.add(key.value)
        loader.flatten_mapping(node)  # `<<: *defaults`; own keys come last and win
        result = {}
        for key, item in node.value:
            inside = (*place, str(key.value))
            result[str(key.value)] = self._value(loader, item, inside, around)
            self._lines[inside] = key.start_mark.line + 1  # people look for the key
        return result

    def _scalar(self, loader: yaml.SafeLoader, node: yaml.ScalarNode, place: Place) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind == "str" and node.style is None and _EXPONENT.fullmatch(node.value):
            return float(node.value)
        if kind in ("str", "timestamp"):  # a date is text here
            return node.value
        if kind not in ("null", "bool", "int", "float"):
            raise self.refusal(place, f"cannot take a value of type {node.tag}: write it as text or numbers")
        try:
            value = loader.construct_object(node)
        except ValueError:  # `!!int abc`
            raise self.refusal(place, f"{dotted(place)} is no {kind}: {node.value!r}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refusal(place, f"{dotted(place)} must be a finite number, got {node.value}")
        return value
