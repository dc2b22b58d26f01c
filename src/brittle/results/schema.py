"""The published JSON Schemas, made from the records: `python -m brittle.results.schema` writes them again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brittle.files import write_text
from brittle.results.attack import ATTACK_SCHEMA, AttackResult
from brittle.results.audit import SCHEMA, Audit
from brittle.results.compression import COMPRESSION_SCHEMA, CompressionResult
from brittle.results.serialise import json_schema
from brittle.results.structure import STRUCTURE_SCHEMA, StructureAudit
from brittle.results.study import STUDY_SCHEMA, StudyResult
from brittle.results.summary import SUMMARY_SCHEMA, Summary
from brittle.results.training import TRAINING_SCHEMA, TrainingHistory

FOLDER = Path(__file__).resolve().parents[1] / "schema"

POLICY = (
    "Versions: within one major number (the 1 in {name}) fields are only added, never renamed, removed or given "
    "another meaning, so a reader should ignore fields it does not know. A change that could break a reader gets a "
    "new major number and a new file."
)

# The file's name without its suffix, the schema's name inside documents, and the record.
PUBLISHED: tuple[tuple[str, str, type], ...] = (
    ("audit-1", SCHEMA, Audit),
    ("attack-1", ATTACK_SCHEMA, AttackResult),
    ("compression-1", COMPRESSION_SCHEMA, CompressionResult),
    ("training-1", TRAINING_SCHEMA, TrainingHistory),
    ("structure-1", STRUCTURE_SCHEMA, StructureAudit),
    ("study-1", STUDY_SCHEMA, StudyResult),
    ("summary-1", SUMMARY_SCHEMA, Summary),
)


def published_schema(file: str, name: str, record: type) -> dict[str, Any]:
    """A record's schema with its dialect, its name and the version policy."""
    schema = json_schema(record)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:brittle:schema:{file}",
        "title": name,
        "description": f"{schema.pop('description', '')} {POLICY.format(name=name)}".strip(),
        **{key: value for key, value in schema.items() if key != "title"},
    }


def write_schemas(folder: Path = FOLDER) -> None:
    """Write all published schemas."""
    for file, name, record in PUBLISHED:
        write_text(folder / f"{file}.json", json.dumps(published_schema(file, name, record), indent=1) + "\n")


if __name__ == "__main__":
    write_schemas()
