"""Where user code is imported from, and how names that exist twice are kept apart.

The law: an import in a file below a code root, of a top-level name which that root has, gives that root's module. All other
imports are left alone.

A name that nobody else has is imported as always: the code root stands on `sys.path`, the module in `sys.modules` under its own
name. A name that is taken (by this program, by another code root, by a loaded module of the standard library) is *private* to the
code root: there `app` is imported as `esm_code_2.app`, where `esm_code_2` is a package whose folder is the code root.
A private module is thus an ordinary module with a longer name: import locks, relative imports, pickle and dataclasses work on it
unchanged, and nothing is ever swapped under the feet of another thread. Only the way from the short name to the long one is ours:
a `builtins.__import__` (and `importlib.import_module`) that looks at who asks, in place only while a private name exists.

What belongs to an installed distribution and is loaded is shared, never private: many extension modules do not work twice.
What this cannot do: a library outside of the code root that reads `sys.modules` by a short name sees the other module.
"""

import builtins
import importlib
import importlib.util
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder, all_suffixes
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

_OURS: Final = frozenset({"handlers", "pollers", "runtime"})
_OUR_PARENT: Final = Path(__file__).resolve().parent.parent
_OUR_FILES: Final = tuple(f"{_OUR_PARENT / name}{os.sep}" for name in sorted(_OURS))
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_NUMBERS: Final = itertools.count(1)


class CodeRoot:
    """One folder of user code. Made by `CodeRoots.add`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prefix = f"{path}{os.sep}"
        self.package = f"esm_code_{next(_NUMBERS)}"
        """The package under which its private modules are imported."""
        self.names: set[str] = set()
        """The top-level names that it has."""
        self.private: set[str] = set()
        self.fresh: set[str] = set()
        """Names that were not loaded by anybody when the code root was added."""

    def holds(self, name: str, module: ModuleType) -> bool:
        """Whether the top-level module `name` is this root's own."""
        return self._is_here(name, getattr(module, "__file__", None), getattr(module, "__path__", ()))

    def finds(self, name: str) -> bool:
        """Whether a plain import of the top-level `name` gives this root's own module."""
        loaded = sys.modules.get(name)
        if loaded is not None:
            return self.holds(name, loaded)
        spec = importlib.util.find_spec(name)
        return spec is not None and self._is_here(name, spec.origin, spec.submodule_search_locations or ())

    def has_file(self, module: str) -> bool:
        """Whether there is a file for the dotted name `module`."""
        base = self.path.joinpath(*module.split("."))
        return any(
            base.with_name(base.name + suffix).is_file() or (base / f"__init__{suffix}").is_file() for suffix in all_suffixes()
        )

    def _is_here(self, name: str, file: str | None, folders: Sequence[str]) -> bool:
        for folder in folders:  # the first one counts: a namespace package may have more
            return Path(folder).resolve() == (self.path / name).resolve()
        return file is not None and Path(file).is_absolute() and Path(file).parent.resolve() == self.path  # else "built-in"


class CodeRoots:
    """All code roots of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # two functions may be loaded at once; re-entrant, as user code may load a handler
        self._roots: dict[Path, CodeRoot] = {}
        self._longest_first: tuple[CodeRoot, ...] = ()
        self._private: set[str] = set()
        self._on_path: list[str] = []
        self._plain_import: Callable[..., Any] = builtins.__import__
        self._plain_import_module: Callable[..., ModuleType] = importlib.import_module
        self._import_hook: Callable[..., Any] | None = None
        self._import_module_hook: Callable[..., ModuleType] | None = None

    def add(self, folder: Path) -> CodeRoot:
        """The code root for `folder`, the same one for the same folder. Raises OSError when it cannot be listed."""
        path = folder.resolve()
        with self._lock:
            found = _top_level_names(path)
            importlib.invalidate_caches()  # files may have come since Python last looked
            root = self._roots.get(path)
            if root is None:
                root = CodeRoot(path)
                sys.modules[root.package] = _package(root.package, path)
            for name, regular in found.items():
                if name not in root.names:
                    self._claim(root, name, regular=regular)
            if path not in self._roots:
                self._roots[path] = root
                self._longest_first = tuple(sorted(self._roots.values(), key=lambda each: -len(each.prefix)))
                self._put_on_path(str(path))
            return root

    def import_from(self, root: CodeRoot, module: str) -> ModuleType:
        """Import the dotted name `module` as code of this root would. Raises what the import raises."""
        top = module.partition(".")[0]
        with self._lock:
            if top not in root.private and root.has_file(module) and not root.finds(top):
                self._make_private(root, top)
        if top not in root.private:
            return self._plain_import_module(module)
        with _short_names(root):
            return self._plain_import_module(f"{root.package}.{module}")

    def import_file(self, root: CodeRoot, file: Path) -> ModuleType:
        """Import a file of this root whose path makes no module name. Raises what the import raises."""
        name = f"{root.package}.{file.relative_to(root.path).as_posix().replace('.', '%2E')}"
        with self._lock:  # once, also when two threads ask
            if name in sys.modules:
                return sys.modules[name]
            spec = importlib.util.spec_from_file_location(name, file)
            if spec is None:
                raise ImportError(f"{file} is no Python file")
            return _execute(spec, name)

    def is_users(self, module: ModuleType) -> bool:
        """Whether a module is code of the user's: below a code root, and no installed package."""
        return self._owner(vars(module)) is not None

    def close(self) -> None:
        """Take everything back: hooks, `sys.path`, and the modules that were loaded from code roots."""
        with self._lock:
            if builtins.__import__ is self._import_hook:
                builtins.__import__ = self._plain_import
            if importlib.import_module is self._import_module_hook:
                importlib.import_module = self._plain_import_module
            self._import_hook = self._import_module_hook = None
            for entry in self._on_path:
                if entry in sys.path:
                    sys.path.remove(entry)
            for root in self._roots.values():
                tops = {name for name in root.fresh if name in sys.modules and root.holds(name, sys.modules[name])}
                for name in [name for name in sys.modules if name.partition(".")[0] in tops | {root.package}]:
                    del sys.modules[name]
            self._roots.clear()
            self._longest_first = ()
            self._private.clear()
            self._on_path.clear()

    # -- whose name is it -------------------------------------------------------------------------------------------

    def _claim(self, root: CodeRoot, name: str, *, regular: bool) -> None:
        if name in _OURS and name not in sys.modules and root.path != _OUR_PARENT:
            _pin(name)
        if name not in sys.modules:
            root.fresh.add(name)
        if self._is_taken(root, name, regular=regular):
            self._make_private(root, name)
        root.names.add(name)

    def _is_taken(self, root: CodeRoot, name: str, *, regular: bool) -> bool:
        """Whether a plain import of `name` gives, or may come to give, something else than this root's module."""
        loaded = sys.modules.get(name)
        if loaded is not None and root.holds(name, loaded):
            return False
        if name in _OURS:
            return root.path != _OUR_PARENT
        if BuiltinImporter.find_spec(name) or FrozenImporter.find_spec(name):
            return False  # these come before any folder, in Lambda too
        if not regular and self._is_elsewhere(name):
            return False  # a folder without __init__.py gives way to any real module, as always
        if any(name in other.names for other in self._roots.values() if other is not root):
            return True
        return loaded is not None and not any(part in str(getattr(loaded, "__file__", "")) for part in _INSTALLED)

    def _is_elsewhere(self, name: str) -> bool:
        """Whether there is a real module of this name outside of all code roots."""
        outside = [entry for entry in sys.path if entry not in self._on_path]
        spec = PathFinder.find_spec(name, outside)
        return spec is not None and spec.origin is not None

    def _make_private(self, root: CodeRoot, name: str) -> None:
        root.private.add(name)
        self._private.add(name)
        if self._import_hook is None:
            self._plain_import, self._plain_import_module = builtins.__import__, importlib.import_module
            self._import_hook, self._import_module_hook = self._import, self._import_module
            builtins.__import__ = self._import_hook
            importlib.import_module = self._import_module_hook

    def _put_on_path(self, entry: str) -> None:
        """In front, behind earlier code roots: what an earlier one has plainly must stay what a plain import finds."""
        if entry in sys.path:
            return
        places = [sys.path.index(earlier) + 1 for earlier in self._on_path if earlier in sys.path]
        sys.path.insert(max(places, default=0), entry)
        self._on_path.append(entry)

    # -- the hooks --------------------------------------------------------------------------------------------------

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - the signature of builtins.__import__
        locals: Mapping[str, object] | None = None,  # noqa: A002 - as above
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if level == 0 and globals is not None and isinstance(name, str):
            top = name.partition(".")[0]
            if top in self._private:
                root = self._owner(globals)
                if root is not None and top in root.private:
                    with _short_names(root):
                        # the non-empty fromlist asks for the innermost module; __name__ is there always
                        leaf = self._plain_import(f"{root.package}.{name}", globals, locals, fromlist or ("__name__",), 0)
                    return leaf if fromlist else sys.modules[f"{root.package}.{top}"]
        return self._plain_import(name, globals, locals, fromlist, level)

    def _import_module(self, name: str, package: str | None = None) -> ModuleType:
        absolute = importlib.util.resolve_name(name, package) if name.startswith(".") and package else name
        top = absolute.partition(".")[0]
        if top in self._private:
            root = self._asking(sys._getframe(1))  # noqa: SLF001 - the name is a string: only the stack says who asks
            if root is not None and top in root.private:
                with _short_names(root):
                    return self._plain_import_module(f"{root.package}.{absolute}")
        return self._plain_import_module(name, package)

    def _owner(self, module_globals: Mapping[str, object]) -> CodeRoot | None:
        file = module_globals.get("__file__")
        if not isinstance(file, str) or file.startswith(_OUR_FILES):
            return None
        for root in self._longest_first:
            if file.startswith(root.prefix):
                inside = file[len(root.prefix) - 1 :]  # a virtual environment may lie in a code root and is not part of it
                return None if any(part in inside for part in _INSTALLED) else root
        return None

    def _asking(self, frame: FrameType | None) -> CodeRoot | None:
        """The root of the innermost user code on the stack: a library that imports by name does so for its caller."""
        while frame is not None:
            root = self._owner(frame.f_globals)
            if root is not None:
                return root
            frame = frame.f_back
        return None


@contextmanager
def _short_names(root: CodeRoot) -> Iterator[None]:
    """An import error names the module as the user's code does."""
    try:
        yield
    except ModuleNotFoundError as error:
        long = f"{root.package}."
        if error.name is not None and error.name.startswith(long):
            error.name = error.name.removeprefix(long)
            error.msg = str(error).replace(long, "")
            error.args = (error.msg,)
        raise


def _pin(name: str) -> None:
    """Load a package of ours that is not needed yet: afterwards the code root stands in front of it on `sys.path`."""
    spec = PathFinder.find_spec(name, [str(_OUR_PARENT)])
    if spec is not None:
        _execute(spec, name)


def _execute(spec: ModuleSpec, name: str) -> ModuleType:
    """Import by a spec of one's own, and leave no half of a module behind."""
    module = importlib.util.module_from_spec(spec)
    if spec.loader is not None:
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


def _top_level_names(path: Path) -> dict[str, bool]:
    """The names one can import from a folder; False marks a folder that is no regular package."""
    names: dict[str, bool] = {}
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            regular = any((entry / f"__init__{suffix}").is_file() for suffix in all_suffixes())
            name = entry.name
        else:
            suffix = next((each for each in sorted(all_suffixes(), key=len, reverse=True) if entry.name.endswith(each)), None)
            if suffix is None:
                continue
            regular, name = True, entry.name.removesuffix(suffix)
        if name.isidentifier() and not name.startswith("__"):  # __pycache__, __main__
            names[name] = names.get(name, False) or regular
    return names


def _package(name: str, path: Path) -> ModuleType:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(path)]
    package = importlib.util.module_from_spec(spec)
    package.__path__ = [str(path)]
    return package


CODE_ROOTS: Final = CodeRoots()
"""The one of this process: import hooks are a matter of the whole process."""
