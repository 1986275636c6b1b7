"""Extract the schemas of the kinds in deploy/kubernetes from the package kubernetes-validate.

    python -m tests.support.kubernetes_schemas FOLDER

FOLDER is one version of the package's strict schemas, such as
kubernetes_validate/kubernetes-json-schema/v1.35.0-local-strict. The schemas are those of Kubernetes
(Apache License 2.0). They are stored without descriptions, so that they are small.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "schemas/kubernetes.json"
KINDS = {
    "apps/v1 Deployment": "io.k8s.api.apps.v1.Deployment",
    "batch/v1 CronJob": "io.k8s.api.batch.v1.CronJob",
    "batch/v1 Job": "io.k8s.api.batch.v1.Job",
    "policy/v1 PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "v1 ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "v1 Service": "io.k8s.api.core.v1.Service",
    "v1 ServiceAccount": "io.k8s.api.core.v1.ServiceAccount",
}
_REFERENCE = re.compile(r"[\w./]*#/\$defs/([\w.-]+)")


def without_descriptions(value: Any) -> Any:
    """Return the schema without its texts. A property that is named so is kept."""
    if isinstance(value, dict):
        return {
            key: without_descriptions(item)
            for key, item in value.items()
            if not (key == "description" and isinstance(item, str)) and not key.startswith("x-")
        }
    if isinstance(value, list):
        return [without_descriptions(item) for item in value]
    return _REFERENCE.sub(r"#/$defs/\1", value) if isinstance(value, str) else value


def main(folder: Path) -> None:
    """Write the kinds, and everything that they refer to."""
    known = json.loads((folder / "_definitions.json").read_text())["$defs"]
    found: dict[str, Any] = {}
    names = list(KINDS.values())
    while names:
        name = names.pop()
        if name not in found:
            found[name] = without_descriptions(known[name])
            names += _REFERENCE.findall(json.dumps(found[name]))
    schema = {
        "$comment": f"Kubernetes {folder.name.split('-')[0]}, Apache-2.0; made by {__spec__.name}",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "kinds": {kind: f"#/$defs/{name}" for kind, name in KINDS.items()},
        "$defs": dict(sorted(found.items())),
    }
    TARGET.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
