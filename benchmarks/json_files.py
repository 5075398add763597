"""Read JSON files, and check each against a JSON schema. A damaged or unexpected file raises an error in one line.

`listed`, `members`, `mapping` and `maybe` build the schemas, which are dicts of JSON Schema (draft 2020-12).
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
# The limits are so low that arithmetic on a few such numbers cannot overflow.
NUMBER: Schema = {"type": "number", "minimum": -1e15, "maximum": 1e15}
POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0, "maximum": 1e15}
PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
COUNT: Schema = {"type": "integer", "minimum": 1, "maximum": 1e15}
OBJECT: Schema = {"type": "object"}
# The most characters of an error that a message shows, because the wrong value may be a whole document.
LENGTH = 200


def listed(item: Schema, *, least: int = 0, most: int | None = None) -> Schema:
    """Return the schema of a list of `least` to `most` items that fit the schema `item`. `most` None sets no upper limit."""
    limits = {"minItems": least} | ({} if most is None else {"maxItems": most})
    return {"type": "array", "items": item} | limits


def members(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return the schema of an object with members that are `required` and members that are `optional`.

    Both arguments map the key of a member to the schema of its value. Other members are allowed, with any value.
    """
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def mapping(value: Schema) -> Schema:
    """Return the schema of an object with any keys, in which every value fits the schema `value`."""
    return {"type": "object", "additionalProperties": value}


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that is null or fits `schema`, which must have a "type"."""
    return {**schema, "type": [schema["type"], "null"]}


def read_document(
    path: Path, schema: Schema, *, expected: str, advice: str, refusal: type[UserError] = ConfigError
) -> Any:
    """Return the parsed JSON document at `path`. Raise `refusal` if it cannot be read, is not JSON or does not fit `schema`.

    The error's message is one line: `PATH: not EXPECTED (reason); ADVICE`, with the texts `expected` and `advice`.
    """
    try:
        return read_json(path, schema)
    except OSError as error:
        reason = error.strerror or reason_of(error)
    except ValueError as error:
        reason = reason_of(error)
    raise refusal(f"{path}: not {expected} ({reason}); {advice}")


def read_json(path: Path, schema: Schema) -> Any:
    """Return the parsed JSON document at `path`.

    Raises OSError if the file cannot be read. Raises ValueError if it is not JSON or does not fit `schema`, and says where.
    """
    document = parse_json(path.read_text(), finite=True)
    if wrong := misfit(document, schema):
        raise ValueError(wrong)
    return document


def misfit(document: Any, schema: Schema) -> str | None:
    """Return why a document does not fit `schema`, or None if it fits.

    The text names one place in the document, such as `document.models[0].batch: 0 is less than the minimum of 1`. Raises
    DeviceError if jsonschema is not installed.
    """
    with importing(JSONSCHEMA, needs=("Draft202012Validator",)):
        import jsonschema

    # In draft 4, an integer is a number that Python reads as int. In draft 2020-12, 1.0 is an integer too.
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
