"""`python validate.py FILE...`: Kubernetes objects against the schemas of Kubernetes, KEDA and the Prometheus Operator.

Runs in the environment of `validators.txt`, so it imports nothing of the project. Exits 1 with a line for every problem.
"""

import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from pydantic import ValidationError

OLDEST = "1.30"
"""Of the versions of Kubernetes that the files are for: fields that came later would be dropped there without a word."""
CUSTOM = {
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): keda.TriggerAuthentication,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus_operator.ServiceMonitor,
}


def lost(given: Any, kept: Any, where: str = "") -> list[str]:
    """What a model did not take over from an object: keys that it does not know. The API server would drop them, too."""
    if isinstance(given, dict) and isinstance(kept, dict):
        missing = [f"{where}.{key}: no such field" for key in given.keys() - kept.keys()]
        return missing + [each for key in given.keys() & kept.keys() for each in lost(given[key], kept[key], f"{where}.{key}")]
    if isinstance(given, list) and isinstance(kept, list):
        return [each for n, (a, b) in enumerate(zip(given, kept, strict=True)) for each in lost(a, b, f"{where}[{n}]")]
    return [] if given == kept else [f"{where}: {given!r} was read as {kept!r}"]


def problems(document: dict[str, Any]) -> list[str]:
    model = CUSTOM.get((document["apiVersion"], document["kind"]))
    if model is None:
        found = []
        for version in (OLDEST, kubernetes_validate.latest_version()):
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                found.append(f"no schema for it: {error}")
        return found
    try:
        read = model.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return lost(document, read.model_dump(mode="json", by_alias=True, exclude_unset=True))


def main(paths: list[str]) -> int:
    count, wrong = 0, 0
    for path in paths:
        for document in yaml.safe_load_all(Path(path).read_text()):
            count += 1
            for problem in problems(document):
                wrong += 1
                sys.stdout.write(f"{Path(path).stem}: {document['kind']} {document['metadata']['name']}: {problem}\n")
    sys.stdout.write(f"{count} objects, {wrong} problems\n")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
