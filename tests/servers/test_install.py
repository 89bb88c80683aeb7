"""The installer, with an `mvn` and an `npm` that fetch nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers import install as installer
from tests.servers.catalogue import ELASTICMQ, LOCAL
from tests.servers.install import InstallError, apply_patch, home_of, install, is_installed
from tests.servers.spec import MavenArtifact, MavenProject, NpmPackage, Patch, Program

SPEC = replace(ELASTICMQ, name="thing", version="1")
OTHER_RECIPE = replace(SPEC, install=MavenArtifact(group="g", artifact="a", version="2"))

FETCHES = """\
#!/bin/sh
echo run >> "$RUNS"
for option; do case $option in -DoutputDirectory=*) mkdir "${option#-DoutputDirectory=}" ;; esac; done
"""
FAILS = """\
#!/bin/sh
echo run >> "$RUNS"
echo no route to anywhere
exit 3
"""
BUILDS = """\
#!/bin/sh
echo "$@" >> "$RUNS"
while [ "$1" != --file ]; do shift; done
mkdir -p "$(dirname "$2")/target" "$(dirname "$2")/lib"
cp "$(dirname "$2")/Main.java" "$(dirname "$2")/target/built.jar"
"""
PATCH = Patch(file="thing/main.js", old="0.0.0.0", new="127.0.0.1")  # noqa: S104 - what is replaced
OF_NPM = replace(ELASTICMQ, name="thing", version="1", install=NpmPackage(name="thing", version="1.2.3", patches=(PATCH,)))
OF_SOURCES = Program(name="thing", version="1", install=MavenProject(folder="sources", properties=("x=1",)), needs=("mvn",))
BRINGS = """\
#!/bin/sh
echo "$@" >> "$RUNS"
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/node_modules/thing"
echo '{"version": "VERSION"}' > "$2/node_modules/thing/package.json"
echo 'listen("0.0.0.0")' > "$2/node_modules/thing/main.js"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    command_that("mvn", FETCHES, tmp_path / "servers")
    return tmp_path / "servers"


def command_that(name: str, script: str, root: Path) -> None:
    command = root.parent / "bin" / name
    command.parent.mkdir(exist_ok=True)
    command.write_text(script)
    command.chmod(0o755)


def runs(root: Path) -> int:
    return len((root.parent / "runs").read_text().splitlines())


def be_silent(_line: str) -> None:
    pass


def test_a_server_is_installed_once(root: Path) -> None:
    assert not is_installed(SPEC, root=root)
    assert install(SPEC, root=root, say=be_silent)
    assert is_installed(SPEC, root=root)
    assert (home_of(SPEC, root=root) / "lib").is_dir()
    assert not install(SPEC, root=root, say=be_silent)
    assert runs(root) == 1


def test_a_failed_installation_shows_the_output_and_leaves_nothing(root: Path) -> None:
    command_that("mvn", FAILS, root)
    with pytest.raises(InstallError, match="exit status 3\nno route to anywhere"):
        install(SPEC, root=root, say=be_silent)
    assert not is_installed(SPEC, root=root)
    assert [path.name for path in root.iterdir()] == ["thing-1.lock"]


def test_what_a_killed_run_left_is_replaced(root: Path) -> None:
    (root / ".partial-thing-1" / "lib").mkdir(parents=True)
    assert install(SPEC, root=root, say=be_silent)
    assert sorted(path.name for path in root.iterdir()) == ["thing-1", "thing-1.lock"]


def test_another_recipe_is_another_installation(root: Path) -> None:
    install(SPEC, root=root, say=be_silent)
    assert not is_installed(OTHER_RECIPE, root=root)
    assert install(OTHER_RECIPE, root=root, say=be_silent)
    assert is_installed(OTHER_RECIPE, root=root)


def test_runs_at_the_same_time_install_once(root: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.servers.install import install\n"
        "from tests.servers.test_install import SPEC\n"
        "install(SPEC, root=Path(sys.argv[1]), say=print)\n"
    )
    slow = FETCHES.replace("echo run", "sleep 1; echo run")
    command_that("mvn", slow, root)
    command = (sys.executable, "-c", program, str(root))
    project = Path(__file__).parents[2]
    children = [subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert runs(root) == 1
    assert sum("installing" in text for text in lines) == 1


def test_what_is_part_of_the_project_needs_no_installation(root: Path) -> None:
    assert is_installed(LOCAL, root=root)
    assert not install(LOCAL, root=root, say=be_silent)
    assert not root.exists()


def test_a_missing_installer_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(InstallError, match="mvn is needed and not there"):
        install(SPEC, root=root, say=be_silent)


def test_a_package_of_npm_is_installed_without_running_its_scripts_and_patched(root: Path) -> None:
    command_that("npm", BRINGS.replace("VERSION", "1.2.3"), root)
    assert install(OF_NPM, root=root, say=be_silent)
    assert is_installed(OF_NPM, root=root)
    assert not install(OF_NPM, root=root, say=be_silent)
    assert (home_of(OF_NPM, root=root) / "node_modules" / "thing" / "main.js").read_text() == 'listen("127.0.0.1")\n'
    (asked,) = (root.parent / "runs").read_text().splitlines()
    assert asked.startswith("install ")
    assert "--ignore-scripts" in asked
    assert asked.endswith(" thing@1.2.3")


@pytest.fixture
def project(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with sources, below what the installer takes for the project."""
    command_that("mvn", BUILDS, root)
    monkeypatch.setattr(installer, "PROJECT", root.parent)
    folder = root.parent / "sources"
    folder.mkdir()
    (folder / "pom.xml").write_text("<project/>")
    (folder / "Main.java").write_text("one")
    return folder


def test_a_project_is_built_in_a_copy_with_its_properties(root: Path, project: Path) -> None:
    assert install(OF_SOURCES, root=root, say=be_silent)
    assert (home_of(OF_SOURCES, root=root) / "lib" / "built.jar").read_text() == "one"
    assert sorted(path.name for path in project.iterdir()) == ["Main.java", "pom.xml"]
    (asked,) = (root.parent / "runs").read_text().splitlines()
    assert " package " in asked
    assert asked.endswith(" -Dx=1")


def test_a_project_is_built_again_when_a_source_has_changed(root: Path, project: Path) -> None:
    install(OF_SOURCES, root=root, say=be_silent)
    assert not install(OF_SOURCES, root=root, say=be_silent)
    (project / "Main.java").write_text("two")
    assert not is_installed(OF_SOURCES, root=root)
    assert install(OF_SOURCES, root=root, say=be_silent)
    assert (home_of(OF_SOURCES, root=root) / "lib" / "built.jar").read_text() == "two"


def test_another_version_than_was_asked_for_is_an_error_and_leaves_nothing(root: Path) -> None:
    command_that("npm", BRINGS.replace("VERSION", "1.2.4"), root)
    with pytest.raises(InstallError, match=r"npm installed 1\.2\.4 instead of 1\.2\.3"):
        install(OF_NPM, root=root, say=be_silent)
    assert not is_installed(OF_NPM, root=root)
    assert [path.name for path in root.iterdir()] == ["thing-1.lock"]


@pytest.mark.parametrize("text", ["", "old old"])
def test_a_patch_that_does_not_fit_exactly_once_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.py").write_text(text)
    with pytest.raises(InstallError, match=r"module\.py: expected once"):
        apply_patch(Patch(file="module.py", old="old", new="new"), tmp_path)


def test_a_patch_replaces_its_text(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("an old word")
    apply_patch(Patch(file="module.py", old="old", new="new"), tmp_path)
    assert (tmp_path / "module.py").read_text() == "an new word"
