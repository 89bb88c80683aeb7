"""`esm check` looks where the positions of streams are to be kept, and makes nothing there."""

from pathlib import Path

from runtime.check import check_state
from runtime.config import load_config, load_nodes
from runtime.config.document import read_document

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"


def problems(folder: Path, state: Path, arn: str = STREAM) -> list[str]:
    start = "" if arn == QUEUE else ", StartingPosition: LATEST"
    text = f"functions: {{f: {{Handler: a.b}}}}\nmappings: [{{FunctionName: f, EventSourceArn: '{arn}'{start}}}]\n"
    (folder / "esm.yaml").write_text(text + f"worker: {{state: 'sqlite:///{state}'}}\n")
    return [str(problem) for problem in check_state(load_config(folder / "esm.yaml", {}))]


def test_a_file_that_can_be_made_is_right_and_is_not_made(tmp_path: Path) -> None:
    state = tmp_path / "new" / "state.db"
    assert problems(tmp_path, state) == []
    assert not state.parent.exists()


def test_a_place_where_nothing_can_be_made_is_a_problem_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, Path("/dev/null/state.db"))
    assert "esm.yaml:3" in problem
    assert "state file /dev/null/state.db" in problem


def test_beside_a_template_it_is_the_line_of_the_file_that_has_the_worker(tmp_path: Path) -> None:
    """The line was that of esm.yaml, and the file the template."""
    problems(tmp_path, tmp_path / "state.db")
    root, _ = read_document(tmp_path / "esm.yaml")
    assert root is not None
    worker = tmp_path / "worker.yaml"
    worker.write_text("\n\n\n\nworker: {state: 'sqlite:////dev/null/state.db'}\n")
    root.value = root.value[:2]
    (problem,) = check_state(load_nodes(root, {}, file=tmp_path / "template.yaml", worker=worker))
    assert (problem.file, problem.line) == (str(worker), 5)


def test_a_file_of_another_kind_is_a_problem_and_stays_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state.db"
    state.write_text("not a database, but long enough to be one by its size alone" * 20)
    before = state.read_bytes()
    (problem,) = problems(tmp_path, state)
    assert "it is no SQLite file" in problem
    assert state.read_bytes() == before


def test_queues_keep_no_state(tmp_path: Path) -> None:
    assert problems(tmp_path, Path("/dev/null/state.db"), QUEUE) == []
