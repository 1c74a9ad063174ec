"""The JSON Schema of a recipe, from the fields of its sections and of every component.

Editors complete and check a recipe with it: ``plait recipe --schema > recipe.schema.json``, and
``# yaml-language-server: $schema=recipe.schema.json`` as the recipe's first line.
"""

from __future__ import annotations

from typing import Any

from plait.config import registry
from plait.config.recipe import Recipe
from plait.config.registry import nested

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """The schema of a recipe, with the settings of every registered component."""
    schema: Schema = Recipe.model_json_schema()
    definitions: Schema = schema["$defs"]
    modalities = registry.modalities()
    for kind in dict.fromkeys([*modalities, "fusion", "output", "decoder", "language-model"]):
        definitions[kind] = {"oneOf": [_component(kind, name) for name in registry.names(kind)]}
    inputs = definitions["InputSpec"]
    inputs["properties"]["modality"] = {"enum": modalities, "description": "kind of data"}
    inputs["properties"]["representation"] = {"type": "object", "required": ["kind"]}
    inputs["allOf"] = [
        _if("modality", modality, "representation", {"$ref": f"#/$defs/{modality}"})
        for modality in modalities
    ]
    outputs, names = definitions["OutputSpec"], registry.names("output")
    outputs["properties"]["kind"] = {"enum": names, "description": "kind of output"}
    outputs["allOf"] = [_if("kind", name, "settings", _settings("output", name)) for name in names]
    schema["properties"]["fusion"] = {"$ref": "#/$defs/fusion"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _if(name: str, value: str, other: str, schema: Schema) -> Schema:
    """If a property has this value, the other one has that schema."""
    condition = {"properties": {name: {"const": value}}}
    return {"if": condition, "then": {"properties": {other: schema}}}


def _component(kind: str, name: str) -> Schema:
    """A component as a recipe writes it: its kind, and its settings beside it."""
    settings, component = _settings(kind, name), registry.find(kind, name)
    title: Schema = {"const": name}
    if component.takes_argument:  # hub:NAME
        title = {"anyOf": [title, {"type": "string", "pattern": f"^{name}:.+"}]}
        required = settings.get("required", [])
        settings["required"] = [field for field in required if field != registry.ARGUMENT]
    settings["properties"] = {"kind": title, **settings["properties"]}
    settings["required"] = ["kind", *settings.get("required", [])]
    return settings


def _settings(kind: str, name: str) -> Schema:
    component = registry.find(kind, name)
    schema: Schema = component.cls.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    schema["description"] = component.about
    schema.setdefault("properties", {})
    for field, info in component.cls.model_fields.items():
        if inner := nested(info):
            reference: Schema = {"$ref": f"#/$defs/{inner.kind}"}
            optional = "anyOf" in schema["properties"][field]
            schema["properties"][field] = (
                {"anyOf": [reference, {"type": "null"}]} if optional else reference
            ) | {"description": info.description or ""}
    return schema


def _inlined(value: Any, definitions: Schema) -> Any:
    """The same schema with references to its own definitions replaced by these."""
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref", "").removeprefix("#/$defs/")
    if reference in definitions:
        rest = {key: item for key, item in value.items() if key != "$ref"}
        return _inlined({**definitions[reference], **rest}, definitions)
    return {key: _inlined(item, definitions) for key, item in value.items()}
