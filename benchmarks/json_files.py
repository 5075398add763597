"""Read JSON files that may be damaged or come from another machine, and check each against a JSON schema.

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
# The most characters shown of a value that does not fit, which may be a whole document.
LENGTH = 200


def listed(item: Schema, *, least: int = 0, most: int | None = None) -> Schema:
    """The schema of a list of at least `least` and at most `most` items."""
    limits = {"minItems": least} | ({} if most is None else {"maxItems": most})
    return {"type": "array", "items": item} | limits


def members(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of an object with these members. Other members are allowed, with any value."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def mapping(value: Schema) -> Schema:
    """The schema of an object with any keys, each of whose values fits `value`."""
    return {"type": "object", "additionalProperties": value}


def maybe(schema: Schema) -> Schema:
    """The schema of null or a value that fits `schema`, which must name its type."""
    return {**schema, "type": [schema["type"], "null"]}


def read_document(
    path: Path, schema: Schema, *, expected: str, advice: str, refusal: type[UserError] = ConfigError
) -> Any:
    """Return the document at `path`. Raise `refusal` if it cannot be read, is not JSON or does not fit the schema.

    The one-line message says that the file is not `expected` and why, and ends with `advice`.
    """
    try:
        return read_json(path, schema)
    except OSError as error:
        reason = error.strerror or reason_of(error)
    except ValueError as error:
        reason = reason_of(error)
    raise refusal(f"{path}: not {expected} ({reason}); {advice}")


def read_json(path: Path, schema: Schema) -> Any:
    """Return the document at `path`. ValueError says where it does not fit the schema; OSError if it cannot be read."""
    document = parse_json(path.read_text(), finite=True)
    if wrong := misfit(document, schema):
        raise ValueError(wrong)
    return document


def misfit(document: Any, schema: Schema) -> str | None:
    """Return one place that does not fit, such as `document.models[0].batch: 0 is less than the minimum of 1`, or None.

    DeviceError if jsonschema is not installed.
    """
    with importing(JSONSCHEMA, needs=("Draft202012Validator",)):
        import jsonschema

    # Draft 4 counts only what Python reads as int as an integer: 1.0 is not one.
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
