"""A function of the user's own, named on the command line: "FILE.py:function" or "package.module:function"."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ironbind.core.errors import InputError


def is_user_code(name: str) -> bool:
    """Whether a name has the form of a function of the user's own rather than of an entry of a table."""
    file, colon, function = name.rpartition(":")
    return bool(colon) and function.isidentifier() and (file.endswith(".py") or _is_module(file))


def user_function(name: str, option: str) -> Callable[..., Any]:
    """The function called `name`. Its file is imported under its own name and its folder is put on `sys.path`, so that
    values of its classes travel to worker processes. Raises InputError, naming `option`, for what cannot be imported.
    """
    file, _, function = name.rpartition(":")
    try:
        module = _module_of_file(Path(file), option) if file.endswith(".py") else _module_named(file)
    except ModuleNotFoundError as error:
        names_module = error.name is not None and f"{file}.".startswith(f"{error.name}.")
        expected = "FILE.py:function or package.module:function" if names_module else "everything that it imports"
        raise InputError(f"{option} {name}: {error}; expected {expected}") from None
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's file raises while it is imported
        message = " ".join(str(error).split())
        raise InputError(f"{option} {name}: importing it raised {type(error).__name__}: {message}") from error
    attribute = getattr(module, function, None)
    if not callable(attribute):
        known = ", ".join(sorted(key for key, value in vars(module).items() if _own(value, module))) or "no function"
        raise InputError(f"{option} {name}: there is no function {function!r}; it holds {known}")
    return attribute


def raised(error: BaseException) -> str:
    """Type, message and place of what a user's function raised, in one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _is_module(name: str) -> bool:
    return bool(name) and all(part.isidentifier() for part in name.split("."))


def _own(value: Any, module: Any) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _module_of_file(path: Path, option: str) -> Any:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise InputError(f"{option} {path}: no such file; expected FILE.py:function")
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    if loaded is not None or not name.isidentifier():
        raise InputError(f"{option} {path}: a module cannot be called {name!r} here; expected another file name")
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_named(name: str) -> Any:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script, other than `python -m`, does not look here
    return importlib.import_module(name)
