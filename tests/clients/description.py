"""Checks an OpenAPI document: the document itself, and each of its examples against the schema beside it."""

import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

with open(sys.argv[1]) as file:
    document = json.load(file)
validate(document)

examples = 0


def visit(node):
    global examples
    if isinstance(node, dict):
        if "example" in node and "schema" in node:
            schema = {**node["schema"], "components": document["components"]}
            Draft202012Validator(schema, format_checker=FormatChecker()).validate(node["example"])
            examples += 1
        for value in node.values():
            visit(value)
    elif isinstance(node, list):
        for value in node:
            visit(value)


visit(document["paths"])
print(json.dumps({"operations": sum(len(path) for path in document["paths"].values()), "examples": examples}))
