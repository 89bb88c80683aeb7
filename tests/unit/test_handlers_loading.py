"""Handler references (COM-34, COM-35) and the code roots behind them."""

import builtins
import dataclasses
import importlib
import pickle
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import handlers.invoker
from handlers.code_roots import CODE_ROOTS, CodeRoot, CodeRoots
from handlers.loading import HandlerLoadError, is_async, load_handler


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    CODE_ROOTS.close()  # what another test left
    before = builtins.__import__, importlib.import_module, list(sys.path), set(sys.modules)
    yield
    CODE_ROOTS.close()
    assert (builtins.__import__, importlib.import_module, sys.path) == before[:3]
    left = [name for name in set(sys.modules) - before[3] if name.partition(".")[0] in {"app", "shop", "helper", "esm_code_1"}]
    assert left == []


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    root.mkdir(exist_ok=True)
    return root


def failure(handler: str, root: Path) -> HandlerLoadError:
    with pytest.raises(HandlerLoadError) as caught:
        load_handler(handler, root)
    return caught.value


# -- references ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["shop.orders.handler", "shop/orders.handler", "shop/orders.py:handler"])
def test_a_reference_by_module_or_by_path_gives_the_same_function(tmp_path: Path, reference: str) -> None:
    write(tmp_path, {"shop/orders.py": "def handler(event, context):\n    return __name__\n"})
    loaded = load_handler(reference, tmp_path)
    assert loaded({}, None) == "shop.orders"
    assert loaded is load_handler("shop.orders.handler", tmp_path)
    assert sys.path.count(str(tmp_path)) == 1
    assert sys.path[0] == str(tmp_path)


def test_a_path_that_makes_no_module_name_is_loaded_by_its_place(tmp_path: Path) -> None:
    source = "import helper\ndef handler(event, context):\n    return helper.WORD\n"
    write(tmp_path, {"fn-v1.2/order-in.py": source, "order-in.py": source, "helper.py": "WORD = 'here'\n"})
    loaded = load_handler("fn-v1.2/order-in.py:handler", tmp_path)
    assert loaded({}, None) == "here"
    assert loaded is load_handler("fn-v1.2/order-in.py:handler", tmp_path)
    assert load_handler("order-in.py:handler", tmp_path)({}, None) == "here"


def test_a_module_beside_a_package_of_the_same_name_is_loaded_when_its_path_says_so(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": "def handler(event, context):\n    return 'file'\n", "app/__init__.py": "handler = None\n"})
    assert load_handler("app.py:handler", tmp_path)({}, None) == "file"


@pytest.mark.parametrize(
    "reference", ["", "handler", ".handler", "app.", "a..handler", "./app.handler", "app.py:", "app:handler"]
)
def test_a_malformed_reference_is_told_what_is_expected(tmp_path: Path, reference: str) -> None:
    error = failure(reference, tmp_path)
    assert error.error_type == "Runtime.MalformedHandlerName"
    assert error.message == f"Bad handler '{reference}': expected module.attribute or path/to/file.py:attribute"


@pytest.mark.parametrize(
    ("reference", "source", "kind", "text"),
    [
        ("missing.handler", "", "Runtime.ImportModuleError", "Unable to import module 'missing': No module named 'missing'"),
        ("a/missing.handler", "", "Runtime.ImportModuleError", "Unable to import module 'a/missing': No module named 'a'"),
        (
            "app.handler",
            "import no_such",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'no_such'",
        ),
        ("app.nothing", "x = 1", "Runtime.HandlerNotFound", "Handler 'nothing' missing on module 'app'"),
        ("app.handler", "def (", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app': invalid syntax (app.py, line 1)"),
        ("sys.exit", "", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module"),
        ("app.handler", "{}['TABLE']", "KeyError", "Unable to import module 'app': KeyError: 'TABLE'"),
        ("app.handler", "raise SystemExit(3)", "Runtime.ExitError", "it ends the process (SystemExit: 3)"),
        ("gone.py:handler", "", "Runtime.ImportModuleError", "gone.py does not exist"),
        ("../x.py:handler", "", "Runtime.ImportModuleError", "Unable to import module '../x.py': it is not below "),
    ],
)
def test_load_errors_have_lambdas_types_and_texts(tmp_path: Path, reference: str, source: str, kind: str, text: str) -> None:
    error = failure(reference, write(tmp_path, {"app.py": source}))
    assert error.error_type == kind
    assert text in error.message
    assert str(error) == error.message
    assert (error.__cause__ is None) == (kind == "Runtime.BuiltInModuleConflict")


def test_a_code_root_that_does_not_exist_is_named(tmp_path: Path) -> None:
    error = failure("app.handler", tmp_path / "nowhere")
    assert f"the folder {tmp_path / 'nowhere'} (CodeUri) does not exist" in error.message


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("handler = 5", "is not callable (it is of type int)"),
        ("def handler(event): ...", "does not take two positional arguments (event, context)"),
        ("def handler(event, context, more): ...", "does not take two positional arguments"),
        ("def handler(event, *, context): ...", "does not take two positional arguments"),
        ("def handler(event, context): yield 1", "is a generator"),
        ("async def handler(event, context): yield 1", "is a generator"),
        ("class H:\n  async def __call__(self, event, context): yield 1\nhandler = H()", "is a generator"),
    ],
)
def test_what_cannot_be_a_handler_is_refused_with_the_reason(tmp_path: Path, source: str, problem: str) -> None:
    error = failure("app.handler", write(tmp_path, {"app.py": source}))
    assert error.error_type == "Runtime.HandlerNotFound"
    assert error.message.startswith("Handler 'handler' on module 'app' ")
    assert problem in error.message


@pytest.mark.parametrize(
    ("source", "awaited"),
    [
        ("async def handler(event, context): ...", True),
        ("import functools\nasync def f(x, event, context): ...\nhandler = functools.partial(f, 1)", True),
        ("class H:\n  async def __call__(self, event, context): ...\nhandler = H()", True),
        ("import functools\nclass H:\n  async def __call__(self, event, context): ...\nhandler = functools.partial(H())", True),
        ("class H:\n  async def m(self, event, context): ...\nhandler = H().m", True),
        ("def handler(*args): ...", False),
        ("handler = dict.get", False),
        ("class handler:\n  def __init__(self, event, context): ...", False),
        (
            "import functools\ndef inject(f):\n  @functools.wraps(f)\n  def w(event, context): ...\n  return w\n@inject\ndef handler(e, c, db): ...",
            False,
        ),
    ],
)
def test_any_callable_for_two_arguments_is_a_handler(tmp_path: Path, source: str, awaited: bool) -> None:
    assert is_async(load_handler("app.handler", write(tmp_path, {"app.py": source}))) is awaited


# -- names that exist twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["handlers", "runtime", "pollers"])
def test_a_user_package_with_a_name_of_ours_loads_and_ours_goes_on(tmp_path: Path, name: str) -> None:
    write(
        tmp_path,
        {
            f"{name}/__init__.py": "",
            f"{name}/orders.py": f"""
                from . import util as relative
                from {name}.util import WORD
                import {name}.util as dotted

                def handler(event, context):
                    import {name}
                    import {name}.lazy
                    from {name}.lazier import WORD as later
                    return [WORD, dotted is relative, {name}.lazy.WORD, later]
            """,
            f"{name}/util.py": "WORD = 'user'\n",
            f"{name}/lazy.py": "WORD = 'lazy'\n",
            f"{name}/lazier.py": "WORD = 'lazier'\n",
        },
    )
    assert load_handler(f"{name}.orders.handler", tmp_path)({}, None) == ["user", True, "lazy", "lazier"]
    ours = importlib.import_module(name)
    assert ours.__file__ is not None
    assert Path(ours.__file__).parent.parent == Path(handlers.invoker.__file__).parent.parent
    lazily_ours = {"handlers": "handlers.examples.poison", "runtime": "runtime.core", "pollers": "pollers.errors"}[name]
    assert Path(str(importlib.import_module(lazily_ours).__file__)).is_relative_to(Path(ours.__file__).parent)


@pytest.mark.parametrize("reference", ["handlers.handler", "handlers.py:handler"])
def test_a_single_user_module_called_handlers_loads(tmp_path: Path, reference: str) -> None:
    write(tmp_path, {"handlers.py": "import handlers\ndef handler(event, context):\n    return handlers.__file__\n"})
    assert load_handler(reference, tmp_path)({}, None) == str(tmp_path / "handlers.py")


def test_a_folder_called_handlers_without_an_init_file_loads(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"handlers/orders.py": "from handlers import util\ndef handler(e, c): return util.X\n", "handlers/util.py": "X = 1\n"},
    )
    assert load_handler("handlers.orders.handler", tmp_path)({}, None) == 1


def app(word: str) -> dict[str, str]:
    return {
        "app.py": f"""
            import helper

            def handler(event, context):
                from shop.lazy import WORD
                import shop
                return [{word!r}, helper.WORD, WORD, shop.__file__]
        """,
        "helper.py": f"WORD = {word!r}\n",
        "shop/__init__.py": "",
        "shop/lazy.py": f"from shop.lazier import WORD\nassert WORD == {word!r}\n",
        "shop/lazier.py": f"WORD = {word!r}\n",
    }


def test_two_code_roots_with_the_same_names_each_get_their_own_also_lazily(tmp_path: Path) -> None:
    roots = [write(tmp_path / word, app(word)) for word in ("one", "two", "three")]
    loaded = [load_handler("app.handler", root) for root in roots]
    for root, handler in reversed(list(zip(roots, loaded, strict=True))):
        assert handler({}, None) == [root.name, root.name, root.name, str(root / "shop" / "__init__.py")]


def test_folders_without_init_files_are_kept_apart_as_well(tmp_path: Path) -> None:
    source = "def handler(e, c):\n    from shop.lib import x\n    return x.WORD\n"
    roots = [
        write(tmp_path / w, {"app.py": source, "shop/lib/x.py": f"WORD = {w!r}\n", f"shop/{w}.py": ""}) for w in ("one", "two")
    ]
    loaded = [load_handler("app.handler", root) for root in roots]
    assert [handler({}, None) for handler in loaded] == ["one", "two"]


def test_a_module_that_only_the_second_root_has_may_use_its_colliding_names(tmp_path: Path) -> None:
    load_handler("app.handler", write(tmp_path / "one", app("one")))
    second = {**app("two"), "only_here.py": "import helper\ndef handler(e, c): return helper.WORD, __name__\n"}
    assert load_handler("only_here.handler", write(tmp_path / "two", second))({}, None) == ("two", "only_here")


def test_import_module_finds_the_modules_of_who_asks(tmp_path: Path) -> None:
    source = """
        import importlib
        from importlib import import_module

        def handler(event, context):
            return importlib.import_module("helper").WORD, import_module(".lazy", "shop").WORD, __import__("shop.lazy").__name__
    """
    for word in ("one", "two"):
        handler = load_handler("app.handler", write(tmp_path / word, {**app(word), "app.py": source}))
        assert handler({}, None)[:2] == (word, word)
    assert importlib.import_module("helper").WORD == "one"


def test_a_file_that_fails_is_run_again_the_next_time(tmp_path: Path) -> None:
    write(tmp_path, {"v1.0/app.py": "raise ValueError('not yet')\n"})
    assert failure("v1.0/app.py:handler", tmp_path).error_type == "ValueError"
    write(tmp_path, {"v1.0/app.py": "def handler(event, context): return 'mended now'\n"})
    assert load_handler("v1.0/app.py:handler", tmp_path)({}, None) == "mended now"


def test_two_functions_of_one_code_root_share_their_modules(tmp_path: Path) -> None:
    source = "import state\ndef {0}(e, c):\n    state.seen.append({0!r})\n    return state.seen\n"
    write(tmp_path, {"a.py": source.format("a"), "b.py": source.format("b"), "state.py": "seen = []\n"})
    load_handler("a.a", tmp_path)({}, None)
    assert load_handler("b.b", tmp_path)({}, None) == ["a", "b"]


def test_a_missing_module_is_named_as_the_code_names_it(tmp_path: Path) -> None:
    source = "def handler(e, c):\n    try:\n        import shop.gone\n    except ModuleNotFoundError as error:\n        return error.name, str(error)\n"
    load_handler("app.handler", write(tmp_path / "one", app("one")))
    handler = load_handler("app.handler", write(tmp_path / "two", {**app("two"), "app.py": source}))
    assert handler({}, None) == ("shop.gone", "No module named 'shop.gone'")
    assert (
        failure("shop.gone.handler", tmp_path / "two").message
        == "Unable to import module 'shop.gone': No module named 'shop.gone'"
    )


def test_classes_of_private_modules_are_picklable_and_know_their_module(tmp_path: Path) -> None:
    source = """
        import dataclasses

        @dataclasses.dataclass
        class Order:
            amount: int
            note: "list[str] | None" = None

        def handler(event, context):
            return Order(event)
    """
    write(tmp_path, {"handlers/__init__.py": "", "handlers/orders.py": source})
    order = load_handler("handlers.orders.handler", tmp_path)(5, None)
    assert pickle.loads(pickle.dumps(order)) == order  # noqa: S301 - its own pickle
    assert dataclasses.asdict(order) == {"amount": 5, "note": None}
    assert type(order).__module__ in sys.modules


def test_a_user_module_named_like_a_loaded_one_of_the_standard_library_is_the_users(tmp_path: Path) -> None:
    queue = importlib.import_module("queue")
    write(
        tmp_path,
        {"queue.py": "def handler(e, c):\n    import calendar\n    return calendar.WORD\n", "calendar.py": "WORD = 'user'\n"},
    )
    assert load_handler("queue.handler", tmp_path)({}, None) == "user"
    assert sys.modules["queue"] is queue
    assert load_handler("queue.py:handler", tmp_path)({}, None) == "user"


def test_a_folder_with_the_name_of_an_installed_library_does_not_hide_it(tmp_path: Path) -> None:
    source = "import simplejson, yaml\ndef handler(e, c): return simplejson.dumps([1]), yaml.safe_load('[2]')\n"
    for word in ("one", "two"):
        root = write(tmp_path / word, {"app.py": source, "yaml/conf.yaml": "", "simplejson/readme": ""})
        assert load_handler("app.handler", root)({}, None) == ("[1]", [2])


@pytest.mark.parametrize("name", ["yaml", "site"])
def test_the_module_of_the_handler_is_the_code_roots_own_whatever_else_has_its_name(tmp_path: Path, name: str) -> None:
    write(tmp_path, {f"{name}/orders.py": "def handler(e, c): return __file__\n"})
    assert load_handler(f"{name}.orders.handler", tmp_path)({}, None) == str(tmp_path / name / "orders.py")


def test_a_name_of_ours_is_taken_also_when_we_are_an_installed_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.code_roots._INSTALLED", (f"{Path(handlers.invoker.__file__).parent}/",))
    write(
        tmp_path,
        {"handlers/__init__.py": "", "app.py": "def handler(e, c):\n    import handlers\n    return handlers.__file__\n"},
    )
    assert load_handler("app.handler", tmp_path)({}, None) == str(tmp_path / "handlers" / "__init__.py")


def test_our_own_files_are_never_user_code_even_below_a_code_root() -> None:
    roots, above = CodeRoots(), Path(handlers.invoker.__file__).parent.parent.parent
    roots._longest_first = (CodeRoot(above),)
    assert roots._owner({"__file__": handlers.invoker.__file__}) is None
    assert roots._owner({"__file__": str(above / "app.py")}) is not None


def test_libraries_of_a_virtual_environment_inside_the_code_root_are_not_user_code(tmp_path: Path) -> None:
    library = "def where():\n    import handlers.invoker\n    return handlers.invoker.__file__\n"
    site = tmp_path / ".venv/lib/python3/site-packages"
    write(
        tmp_path,
        {"handlers/__init__.py": "", "app.py": "def handler(e, c):\n    import lib_in_venv\n    return lib_in_venv.where()\n"},
    )
    write(site, {"lib_in_venv.py": library})
    handler = load_handler("app.handler", tmp_path)
    sys.path.append(str(site))
    try:
        assert handler({}, None) == handlers.invoker.__file__
    finally:
        sys.path.remove(str(site))
        del sys.modules["lib_in_venv"]


def test_our_own_package_in_a_code_root_stays_ours(tmp_path: Path) -> None:
    project = Path(handlers.invoker.__file__).parent.parent
    plain = load_handler("handlers.examples.poison.handler", project)
    assert plain is importlib.import_module("handlers.examples.poison").handler
    assert load_handler("handlers/examples/poison.py:handler", project) is plain
    assert load_handler("handlers.examples.poison.handler", tmp_path) is plain


def test_no_hook_is_installed_while_no_name_is_taken(tmp_path: Path) -> None:
    plain = builtins.__import__
    load_handler("app.handler", write(tmp_path, app("one")))
    assert builtins.__import__ is plain


def test_threads_import_each_from_its_own_root_at_the_same_time(tmp_path: Path) -> None:
    body = "def handler(e, c):\n    e.wait()\n" + "".join(f"    import m{n}\n    assert m{n}.WORD == WORD\n" for n in range(20))
    words = ("one", "two", "three")
    loaded = []
    for word in words:
        files = {f"m{n}.py": f"WORD = {word!r}\n" for n in range(20)}
        loaded.append(
            load_handler("app.handler", write(tmp_path / word, {"app.py": f"WORD = {word!r}\n{body}    return WORD\n", **files}))
        )
    start, results = threading.Barrier(6), []
    threads = [threading.Thread(target=lambda h=handler: results.append(h(start, None))) for handler in loaded * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == sorted(words * 2)


def test_a_module_that_fails_to_import_can_be_loaded_once_it_is_mended(tmp_path: Path) -> None:
    write(tmp_path, {"app.py": "raise ValueError('not yet')\n"})
    assert failure("app.handler", tmp_path).error_type == "ValueError"
    write(tmp_path, {"app.py": "def handler(event, context):\n    return 'mended now'\n"})
    assert load_handler("app.handler", tmp_path)({}, None) == "mended now"


def test_a_name_that_came_after_the_first_load_is_claimed_by_its_root(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", {"app.py": "def handler(e, c): ...\n"}), write(tmp_path / "two", app("two"))
    load_handler("app.handler", one)
    load_handler("app.handler", two)
    write(one, {"helper.py": "WORD = 'one'\ndef handler(e, c): return WORD\n"})
    assert load_handler("helper.handler", one)({}, None) == "one"


def test_close_leaves_modules_alone_that_were_there_before(tmp_path: Path) -> None:
    kept = ModuleType("kept_by_us")
    kept.__file__ = str(tmp_path / "kept_by_us.py")
    sys.modules["kept_by_us"] = kept
    try:
        load_handler("app.handler", write(tmp_path, {**app("one"), "kept_by_us.py": ""}))
        assert "app" in sys.modules
        CODE_ROOTS.close()
        assert "app" not in sys.modules
        assert sys.modules["kept_by_us"] is kept
    finally:
        del sys.modules["kept_by_us"]
