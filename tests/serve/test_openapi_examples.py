"""Whoever reads the OpenAPI document sees an example of everything, and each example is what the document allows.

What is answered is held against the same schemas, so that the examples show what comes.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # comes with schemathesis

Schema = dict[str, Any]


@pytest.fixture
def document(serve, tiny_runs) -> Schema:
    return serve(tiny_runs["default"], private_scoring=True).get("/openapi.json").json()


def errors(document: Schema, schema: Schema, value: Any) -> list[str]:
    """What is wrong with a value, a name that the schema does not have included, which JSON Schema lets pass."""
    closed = deepcopy(document["components"])
    for part in closed["schemas"].values():
        if "properties" in part:
            part["additionalProperties"] = False
    validator = Draft202012Validator(schema | {"components": closed})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def bodies(operation: Schema) -> Iterator[Schema]:
    """The schemas of what is sent and of what is answered as JSON or as a form."""
    parts = [operation.get("requestBody", {}), *operation["responses"].values()]
    for part in parts:
        for kind, content in part.get("content", {}).items():
            if kind == "application/json" or "form" in kind:
                yield content["schema"]


def test_every_schema_has_an_example_that_is_one_of_it(document):
    schemas = document["components"]["schemas"]
    assert len(schemas) > 20
    for name, schema in schemas.items():
        assert schema.get("examples"), f"{name} has no example"
        for value in schema["examples"]:
            assert errors(document, {"$ref": f"#/components/schemas/{name}"}, value) == [], name
        for field, part in schema["properties"].items():
            for value in part.get("examples", []):
                assert errors(document, part, value) == [], f"{name}.{field}"


def test_every_route_asks_and_answers_by_those_schemas_and_each_parameter_has_an_example(document):
    found = []
    for label, operation in operations(document):
        for schema in bodies(operation):
            assert list(schema) == ["$ref"], f"{label}: {schema}"
        for parameter in operation.get("parameters", []):
            place = f"{label}: {parameter['name']}"
            found.append(place)
            assert parameter["schema"].get("examples"), f"{place} has no example"
            for value in parameter["schema"]["examples"]:
                assert errors(document, parameter["schema"], value) == [], place
    assert {"GET /items/{id}: id", "GET /items/{id}/{kind}: id", "GET /items/{id}/{kind}: kind"} <= set(found)


def test_what_is_answered_is_what_the_examples_show(serve, tiny_runs, tmp_path):
    client = serve(tiny_runs["default"], compared=tiny_runs["item_knn"])
    document = client.get("/openapi.json").json()
    user, item = {"user": "u1"}, {"item": "i3"}
    asked = {
        **{"/recommend": user, "/similar": item, "/explain": user | item, "/items/i3": {}, "/items": {"id": "i3"}},
        **{"/users": {}, "/history": user, "/candidates": user, "/training": {}, "/map": {}, "/ready": {}},
    }
    for path, params in asked.items():
        route = "/items/{id}" if path == "/items/i3" else path
        schema = document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        answer = client.get(path, params=params)
        assert answer.status_code == 200 and errors(document, schema, answer.json()) == [], path
        examples = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["examples"]
        if route != "/similar":  # whose lists are those of /recommend, by another key
            assert set(answer.json()) in [set(example) for example in examples], path
