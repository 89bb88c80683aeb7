"""Installs servers under `.servers/<name>-<version>`, each apart from the project and from each other.

An installation is made in a folder beside its place and renamed into it when complete, so what is there is whole.
One lock per server makes parallel runs take turns; what a killed run left half done, the next one removes.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from tests.servers.spec import (
    Installable,
    MavenArtifact,
    MavenProject,
    NpmPackage,
    Patch,
    PythonPackages,
    Recipe,
    ServerError,
    python_of,
)

PROJECT = Path(__file__).parents[2]
SERVERS_FOLDER = PROJECT / ".servers"

_MARKER = "installed-from"
_INSTALL_SECONDS = 900
_COPY_DEPENDENCIES = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class InstallError(ServerError):
    """A server could not be installed; the message ends with the last lines of the installer's output."""


def home_of(spec: Installable, *, root: Path = SERVERS_FOLDER) -> Path:
    """Where the server is, or would be, installed."""
    return PROJECT if spec.install is None else root / f"{spec.name}-{spec.version}"


def is_installed(spec: Installable, *, root: Path = SERVERS_FOLDER) -> bool:
    """Whether the server is there, whole, and made from the recipe of today. Reads one small file."""
    if spec.install is None:
        return True
    home = home_of(spec, root=root)
    try:
        made_from = (home / _MARKER).read_text()
    except FileNotFoundError:
        return False
    # The interpreter of a virtual environment is a link, which dangles after an upgrade of Python.
    runs = not isinstance(spec.install, PythonPackages) or Path(python_of(home)).exists()
    return runs and made_from == _fingerprint(spec.install)


def install(spec: Installable, *, root: Path = SERVERS_FOLDER, say: Callable[[str], None]) -> bool:
    """Installs the server unless it is there; says whether there was anything to do.

    `say` takes a line for whoever waits. Raises `InstallError`.
    """
    if spec.install is None or is_installed(spec, root=root):
        return False
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{spec.name}-{spec.version}.lock", waiting=lambda: say(f"{spec.name}: another run installs it")):
        if is_installed(spec, root=root):
            return False
        say(f"{spec.name} {spec.version}: installing")
        _install_whole(spec.install, home_of(spec, root=root))
    return True


def _install_whole(recipe: Recipe, home: Path) -> None:
    partial = home.with_name(f".partial-{home.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        match recipe:
            case PythonPackages():
                _install_packages(recipe, partial)
            case MavenArtifact():
                _install_artifact(recipe, partial)
            case MavenProject():
                _build_project(recipe, partial)
            case NpmPackage():
                _install_npm(recipe, partial)
            case _:
                assert_never(recipe)
        (partial / _MARKER).write_text(_fingerprint(recipe))
        if home.exists():
            shutil.rmtree(home)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _install_packages(recipe: PythonPackages, folder: Path) -> None:
    _run(sys.executable, "-m", "venv", str(folder))
    # Bytecode is left to the first start, which needs a small part of it.
    options = ("--quiet", "--no-input", "--disable-pip-version-check", "--no-compile")
    _run(python_of(folder), "-m", "pip", "install", *options, *recipe.requirements)
    if recipe.patches:
        (site_packages,) = folder.glob("lib/python*/site-packages")
        for patch in recipe.patches:
            apply_patch(patch, site_packages)


def apply_patch(patch: Patch, folder: Path) -> None:
    """Raises `InstallError` unless the text to be replaced is there exactly once."""
    file = folder / patch.file
    text = file.read_text()
    if text.count(patch.old) != 1:
        raise InstallError(f"{patch.file}: expected once, found {text.count(patch.old)} times: {patch.old!r}")
    file.write_text(text.replace(patch.old, patch.new))


def _install_artifact(recipe: MavenArtifact, folder: Path) -> None:
    folder.mkdir()
    pom = folder / "pom.xml"
    pom.write_text(
        f"""\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests.servers</groupId>
  <artifactId>{recipe.artifact}-alone</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>{recipe.group}</groupId>
      <artifactId>{recipe.artifact}</artifactId>
      <version>{recipe.version}</version>
    </dependency>
  </dependencies>
</project>
"""
    )
    options = ("-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}")
    _run("mvn", "--quiet", "--batch-mode", "--file", str(pom), _COPY_DEPENDENCIES, *options)


def _build_project(recipe: MavenProject, folder: Path) -> None:
    """In a copy, so that nothing is left beside the sources."""
    shutil.copytree(PROJECT / recipe.folder, folder)
    properties = [f"-D{given}" for given in recipe.properties]
    options = ("-DincludeScope=runtime", f"-DoutputDirectory={folder / 'lib'}", *properties)
    _run("mvn", "--quiet", "--batch-mode", "--file", str(folder / "pom.xml"), "package", "dependency:copy-dependencies", *options)
    (built,) = (folder / "target").glob("*.jar")
    built.rename(folder / "lib" / built.name)


def _install_npm(recipe: NpmPackage, folder: Path) -> None:
    folder.mkdir()
    options = ("--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--prefix", str(folder))
    _run("npm", "install", *options, f"{recipe.name}@{recipe.version}")
    packages = folder / "node_modules"
    found = json.loads((packages / recipe.name / "package.json").read_text())["version"]
    if found != recipe.version:
        raise InstallError(f"{recipe.name}: npm installed {found} instead of {recipe.version}")
    for patch in recipe.patches:
        apply_patch(patch, packages)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise InstallError(f"{command[0]} is needed and not there") from error
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{' '.join(command)}: not done after {_INSTALL_SECONDS} s") from error
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise InstallError(f"{' '.join(command)}: exit status {done.returncode}\n{tail}")


def _fingerprint(recipe: Recipe) -> str:
    made_from = hashlib.sha256(repr(recipe).encode())
    if isinstance(recipe, MavenProject):
        folder = PROJECT / recipe.folder
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            made_from.update(f"\n{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return made_from.hexdigest()


@contextmanager
def _locked(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock that ends with the process, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
