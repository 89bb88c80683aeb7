"""sqs-consumer, the contender from Node: installed on first use into benchmarks/.node, which git ignores."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_FOLDER: Final = _HERE / ".node"
_SCRIPT: Final = "sqs_consumer.mjs"
_OLDEST: Final = 18
_INSTALL: Final = ("install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
_INSTALL_SECONDS: Final = 120.0
_LAST_WORDS: Final = 200
"""Characters of npm's output that are shown when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClient:
    node: str
    """A path."""
    script: Path
    versions: str
    """For the reader: of the package and of Node."""

    def command(self, queue_arn: str, receives: int) -> list[str]:
        return [self.node, str(self.script), queue_arn, str(receives)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoNodeClient:
    why: str
    """One line."""


def prepare_node_client(folder: Path = _FOLDER, *, path: str | None = None) -> NodeClient | NoNodeClient:
    """Install what is missing. `path`: where to look for node and npm, instead of PATH."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None:
        return NoNodeClient(why=f"{'node' if node is None else 'npm'} is not installed")
    try:
        version = _run([node, "--version"], _HERE).strip()
        if int(version.lstrip("v").partition(".")[0]) < _OLDEST:
            return NoNodeClient(why=f"Node {version} is older than {_OLDEST}")
        _install(npm, folder)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return NoNodeClient(why=_one_line(error))
    package = json.loads((_HERE / "package.json").read_text())["dependencies"]
    shown = f"sqs-consumer {package['sqs-consumer']} on @aws-sdk/client-sqs {package['@aws-sdk/client-sqs']}, Node {version}"
    return NodeClient(node=node, script=folder / _SCRIPT, versions=shown)


def _install(npm: str, folder: Path) -> None:
    """installed.json is written last: that it is there and equal says that an install has ended well."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(_HERE / _SCRIPT, folder / _SCRIPT)  # beside node_modules, where Node looks for its imports
    wanted, mark = (_HERE / "package.json").read_text(), folder / "installed.json"
    if mark.exists() and mark.read_text() == wanted:
        return
    (folder / "package.json").write_text(wanted)
    _run([npm, *_INSTALL], folder)
    mark.write_text(wanted)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    return done.stdout


def _one_line(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) and error.stderr else str(error)
    return " ".join(said.split())[:_LAST_WORDS]
