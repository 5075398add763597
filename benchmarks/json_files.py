"""Read JSON files that another machine wrote, or that may be damaged: each is held to a JSON schema. Knows no document.

The schemas are data: what `listed`, `members` and `maybe` return is plain JSON Schema (draft 2020-12).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime.backends.library import Library, importing
from runtime.errors import ConfigError, UserError
from runtime.files.json_text import parse_json
from runtime.wording import reason_of

Schema = Mapping[str, Any]
JSONSCHEMA = Library(
    "jsonschema", "pip install '.[bench]'", "pip install --force-reinstall --no-deps jsonschema"
)

ANYTHING: Schema = {}
TEXT: Schema = {"type": "string"}
YES_NO: Schema = {"type": "boolean"}
# Far from where arithmetic on a few of them could overflow.
NUMBER: Schema = {"type": "number", "minimum": -1e15, "maximum": 1e15}
POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e15}
PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 1e15}
OBJECT: Schema = {"type": "object"}
# Of a refused value as the library shows it, which may be a whole document.
LENGTH = 200


def listed(item: Schema, *, least: int = 0, most: int | None = None) -> Schema:
    """The schema of a list of at least `least` and at most `most` items."""
    limits = {"minItems": least} | ({} if most is None else {"maxItems": most})
    return {"type": "array", "items": item} | limits


def members(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of an object; members that it does not name are free."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def mapping(value: Schema) -> Schema:
    """The schema of an object with any keys, whose values are all alike."""
    return {"type": "object", "additionalProperties": value}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def read_document(
    path: Path, schema: Schema, *, expected: str, advice: str, refusal: type[UserError] = ConfigError
) -> Any:
    """The document at `path`; a `refusal` in one line where it cannot be read, is no JSON or does not fit the schema.

    The line says that the file is not `expected`, at which place it does not fit, and ends with `advice`.
    """
    try:
        return read_json(path, schema)
    except OSError as error:
        reason = error.strerror or reason_of(error)
    except ValueError as error:
        reason = reason_of(error)
    raise refusal(f"{path}: not {expected} ({reason}); {advice}")


def read_json(path: Path, schema: Schema) -> Any:
    """The document at `path`, which fits the schema; ValueError in words where it does not, OSError where it cannot be read."""
    document = parse_json(path.read_text(), finite=True)
    if wrong := misfit(document, schema):
        raise ValueError(wrong)
    return document


def misfit(document: Any, schema: Schema) -> str | None:
    """`document.models[0].batch: 0 is less than the minimum of 1`: a place that does not fit; None where all does.

    DeviceError where jsonschema is not installed.
    """
    with importing(JSONSCHEMA, needs=("Draft202012Validator",)):
        import jsonschema

    # Draft 4's integers are those of Python: 1.0 is none.
    types = jsonschema.Draft4Validator.TYPE_CHECKER
    kind = jsonschema.Draft202012Validator
    validator = jsonschema.validators.extend(kind, type_checker=types)  # type: ignore[no-untyped-call]
    try:
        worst = jsonschema.exceptions.best_match(validator(schema).iter_errors(document))
    except RecursionError:
        return "document: nested too deeply"
    if worst is None:
        return None
    return f"{worst.json_path.replace('$', 'document', 1)}: {reason_of(worst.message, LENGTH)}"
