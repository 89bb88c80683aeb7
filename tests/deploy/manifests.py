"""The files for Kubernetes and ECS, put to the field's own tools: `kubectl kustomize`, the schemas of `validate.py`, `cfn-lint`."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from tests.deploy.programs import CheckError
from tests.deploy.shipped import DEPLOY, ROOT

VALIDATORS: Final = ROOT / ".servers" / "deploy-validators" / "bin"
"""Made by `.ci/check-deploy`."""
_KUBERNETES: Final = DEPLOY / "kubernetes"
_COMPONENTS: Final = ({"components/keda"}, {"components/keda", "components/keda-queue"}, {"components/keda-without-prometheus"})
"""What an overlay may choose for its autoscaling."""


def check_kubernetes() -> str:
    """Every way to put the files together is built, and every object is right; says what was looked at."""
    with tempfile.TemporaryDirectory(prefix="esm-kustomize-") as made:
        rendered = [
            _rendered(_KUBERNETES / name, Path(made) / f"{name.replace('/', '-')}.yaml") for name in ("base", "overlays/example")
        ]
        for number, components in enumerate(_COMPONENTS):
            folder = Path(made) / f"chosen-{number}"
            folder.mkdir()
            paths = {
                kind: [os.path.relpath(_KUBERNETES / each, folder.resolve()) for each in sorted(names)]
                for kind, names in (("resources", {"base"}), ("components", components))
            }
            lines = [f"{kind}: [{', '.join(each)}]" for kind, each in paths.items()]
            (folder / "kustomization.yaml").write_text("\n".join(lines))
            rendered.append(_rendered(folder, Path(made) / f"{'+'.join(map(os.path.basename, sorted(components)))}.yaml"))
        return _run(VALIDATORS / "python", ROOT / "tests" / "deploy" / "validate.py", *rendered)


def check_ecs() -> None:
    _run(
        VALIDATORS / "cfn-lint", "--template", DEPLOY / "ecs" / "service.yaml", "--include-checks", "I", "--regions", "eu-west-1"
    )


def _rendered(folder: Path, output: Path) -> Path:
    output.write_text(_run("kubectl", "kustomize", folder) + "\n")
    return output


def _run(*command: str | Path) -> str:
    """What it prints; raises CheckError with that when it fails, or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError as error:
        raise CheckError(f"{command[0]} is needed and not there") from error
    if done.returncode != 0:
        raise CheckError(f"{' '.join(map(str, command[:3]))}: {done.stdout}{done.stderr}")
    return done.stdout.strip()
