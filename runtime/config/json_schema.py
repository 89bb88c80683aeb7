"""The JSON Schema of `esm.yaml`, made from the types of `schema`: what they cannot say stands here, once.

A file is read by what a key asks for, not by what YAML takes a word for (`scalars`), so the schema is wider than the types in
three places: `${NAME}` stands for any single value, `yes` and `off` are booleans, and a block whose lines are all commented
out is an empty one. Rules that tie several keys together are not in it: `esm check` knows them.
"""

from typing import Any, Final

import msgspec

from runtime.config.schema import File

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE: Final = {
    "title": "A reference to an environment variable",
    "description": "${NAME}, or ${NAME:-default} where the variable may be unset or empty; $${ is a literal ${.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
}
_BOOLEAN_WORD: Final = {"type": "string", "pattern": "^([Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|[Oo][Ff][Ff])$"}
_ANNOTATIONS: Final = ("title", "description", "examples", "default")
_SCALARS: Final = frozenset({"string", "integer", "number", "boolean"})


def json_schema(version: str) -> dict[str, Any]:
    """The schema, as JSON; `version` is that of the program."""
    (root,), definitions = msgspec.json.schema_components([File], ref_template="#/$defs/{name}")
    definitions = {"Reference": _REFERENCE, **{name: _widened(each) for name, each in definitions.items()}}
    return {
        "$schema": DIALECT,
        "$id": f"urn:esm-runtime:{version}:esm.schema.json",
        "title": "esm.yaml",
        "description": f"AWS Lambda's event source mappings for esm-runtime {version}.",
        **root,
        "$defs": definitions,
    }


def _widened(given: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value, with what may stand in its place."""
    schema = {key: value for key, value in given.items() if key != "default" or value not in ("", [], {})}
    for key in ("properties", "$defs"):
        if key in schema:
            schema[key] = {name: _widened(each) for name, each in schema[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _widened(schema[key])
    if "anyOf" in schema:
        schema["anyOf"] = [_widened(each) for each in schema["anyOf"]]
    if schema.get("type") == "object":
        return {**schema, "type": ["object", "null"]}
    if "enum" in schema or schema.get("type") in _SCALARS:
        return _or_reference(schema)
    return schema


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {key: schema[key] for key in _ANNOTATIONS if key in schema}
    asked = {key: value for key, value in schema.items() if key not in said}
    if asked == {"type": "string"}:  # takes a reference as it is
        return schema
    words = [_BOOLEAN_WORD] if asked.get("type") == "boolean" else []
    return {**said, "anyOf": [asked, *words, {"$ref": "#/$defs/Reference"}]}
