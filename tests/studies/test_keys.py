from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

import brittle
from brittle.studies import keys
from brittle.studies.grid import trials_of
from brittle.studies.keys import APART, canonical, code_version, config_key, fingerprint, source_files, trial_key
from brittle.studies.trial import DynamicsSource, Threat, Training, Trial

ROOT = Path(brittle.__file__).parent

OTHERS: dict[str, Any] = {
    "data": "mnist:somewhere",
    "train": 100,
    "test": 400,
    "model": "zoo:mlp?width=10",
    "source": {"kind": "rank", "rank": 3},
    "hold_scale": True,
    "training": {"epochs": 3},
    "transfer": "digits",
    "threats": [{"norm": "l2", "epsilon": 0.25}],
    "measures": ["clean"],
    "seed": 1,
    "data_seed": 1,
}


def test_every_field_is_in_the_key() -> None:
    assert OTHERS.keys() == Trial.model_fields.keys()
    changed = [trials_of(Trial(), {field: [value]})[0] for field, value in OTHERS.items()]
    assert len({trial_key(trial) for trial in [Trial(), *changed]}) == len(OTHERS) + 1


def test_the_canonical_text_is_sorted_json_of_everything() -> None:
    def sorted_through(value: Any) -> bool:
        if isinstance(value, dict):
            return list(value) == sorted(value) and all(map(sorted_through, value.values()))
        return not isinstance(value, list) or all(map(sorted_through, value))

    trial = Trial(training=Training(learning_rate=0.1), threats=(Threat(norm="l2", epsilon=1),))
    loaded = json.loads(canonical(trial))
    assert loaded == trial.model_dump(mode="json")
    assert sorted_through(loaded)
    assert config_key(trial) == hashlib.sha256(canonical(trial).encode()).hexdigest()


def test_equal_trials_have_one_key() -> None:
    a, b = (Trial(source=DynamicsSource(setting="batch_size", value=value)) for value in (64, 64.0))
    assert a == b
    assert trial_key(a) == trial_key(b)


def test_the_code_is_in_the_key_but_not_in_the_configuration() -> None:
    assert trial_key(Trial()) == trial_key(Trial(), code_version())
    assert trial_key(Trial(), "old") != trial_key(Trial())
    torch_version = pytest.importorskip("torch").__version__
    assert code_version().endswith(f"/torch-{torch_version}")


def test_code_versions_follow_the_sources_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(**files: str) -> str:
        for name, text in files.items():
            path = tmp_path / "brittle" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return code_version.__wrapped__()

    monkeypatch.setattr(keys.brittle, "__file__", str(tmp_path / "brittle" / "init.py"))
    first = version(attacks__pgd="x = 1\n")
    assert version(attacks__pgd="x = 2\n") != first
    assert version(attacks__pgd="x = 1\n") == first
    assert version(attacks__pgd="x = 1\r\n") == first
    assert version(cli__app="y", report__page="y", studies__claims__c1="y", studies__engine="y") == first
    assert version(attacks__more="") != first


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions, as paths below the package."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("brittle.").replace(".", "/") for name in names if name.startswith("brittle.")}


def test_nothing_that_counts_imports_what_does_not() -> None:
    apart = {place.removesuffix(".py") for place in APART}
    counted = source_files(ROOT)
    assert ROOT / "studies" / "jobs.py" in counted
    assert ROOT / "cli" / "app.py" not in counted
    for path in counted:
        for name in imports(path):
            parts = [name, *(parent.as_posix() for parent in Path(name).parents)]
            assert not apart.intersection(parts), f"{path} imports {name}, which no key would see"


def test_data_count_by_content_and_not_by_place(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "cats").mkdir(parents=True)
        (tmp_path / name / "cats" / "1.png").write_bytes(b"12" if name == "c" else b"1")
    a, b, c = (trial_key(Trial(data=f"images:{tmp_path / name}")) for name in "abc")
    assert a == b
    assert a != c
    a, c = (trial_key(Trial(transfer=f"images:{tmp_path / name}")) for name in "ac")
    assert a != c
    # What is not there stays as it is written; names are no places.
    assert json.loads(canonical(Trial(data="images:/no/such/place")))["data"] == "images:/no/such/place"
    assert json.loads(canonical(Trial(data="digits")))["data"] == "digits"


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", b"12"), ("b", b"12"), ("c", b"21")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c


def test_names_beside_a_folder_of_the_same_name_are_no_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "linear").mkdir()
    monkeypatch.chdir(tmp_path)
    assert json.loads(canonical(Trial(data="synthetic:linear")))["data"] == "synthetic:linear"


def test_some_classes_of_data_on_the_disk_are_known_by_content(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "22")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(content)
    here, moved, other = (trial_key(Trial(data=f"classes:0-4:mnist:{tmp_path / name}")) for name in "abc")
    assert here == moved != other
    assert str(tmp_path) not in canonical(Trial(data=f"classes:0-4:mnist:{tmp_path / 'a'}"))
    assert trial_key(Trial(data="classes:0-4:digits")) != trial_key(Trial(data="classes:5-9:digits"))
