"""Checks the files of a deployment against schemas: compose.yaml against the Compose Specification, the manifest against
those of Kubernetes, where a field that nobody knows is an error."""

import json
import sys

import kubernetes_validate
import yaml
from compose_spec import PyCompose

compose, manifest = sys.argv[1:]
with open(compose) as file:
    # Its own reader of YAML knows no merge keys.
    services = PyCompose.from_json(json.dumps(yaml.safe_load(file)))
services.validate()
print(f"{compose}: {len(services.service_names())} services")
with open(manifest) as file:
    for resource in yaml.safe_load_all(file):
        version = kubernetes_validate.validate(resource, kubernetes_validate.latest_version(), strict=True)
        print(f"{manifest}: {resource['kind']} by {version}")
