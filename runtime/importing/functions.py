"""The functions that mappings of a template name, and the blocks that they become."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from msgspec import inspect

from runtime.config import schema
from runtime.config.arns import ArnError, parse_function_name
from runtime.importing.code import Folders, code_of
from runtime.importing.findings import Findings, FunctionDraft
from runtime.importing.fitting import fitted
from runtime.importing.intrinsics import Unresolvable, function_of
from runtime.importing.resolver import Resolver
from runtime.importing.values import NO_VALUE, Block, Items, Place, Text, Value, stand_in

FUNCTION: Final = "AWS::Lambda::Function"
_VERSIONED: Final = frozenset({"AWS::Lambda::Alias", "AWS::Lambda::Version"})
_KEY: Final = re.compile("[A-Za-z0-9_-]{1,64}")
_IN_SUB: Final = re.compile(r"\$\{([A-Za-z0-9]+)(\.Arn)?\}")
_CARRIED: Final = ("Handler", "Timeout", "MemorySize", "ReservedConcurrentExecutions", "Environment")
_NOT_CARRIED: Final = {
    "Layers": "layers are not unpacked: install what is in them beside the worker",
    "FileSystemConfigs": "file systems are not mounted: mount them where the worker runs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a mapping's `FunctionName` comes to."""

    key: str
    """The block in `functions`."""
    qualifier: str = ""


@cache
def _fields() -> dict[str, inspect.Type]:
    info = inspect.type_info(schema.Function)
    return {item.encode_name: item.type for item in info.fields} if isinstance(info, inspect.StructType) else {}


@dataclass(slots=True, kw_only=True)
class Functions:
    """Makes a block of each function when the first mapping names it."""

    resolver: Resolver
    findings: Findings
    folders: Folders
    drafts: dict[str, FunctionDraft] = field(default_factory=dict)
    _keys: dict[str, str] = field(default_factory=dict)
    """Logical id -> key."""

    def named(self, value: Value, place: Place) -> Named | None:
        """None when nothing can run it; then that was reported."""
        logical, qualifier = self._logical(value, depth=0)
        if logical is not None:
            return self._of_template(logical, qualifier, place)
        text = self.resolver.resolve(value, place)
        try:
            reference = parse_function_name(stand_in(text))
        except ArnError:
            key = re.sub("[^A-Za-z0-9_-]", "", place.what.rpartition(".")[0])[:64] or "function"
            return self._stranger(key, "", place)
        for known in self.resolver.template.block("Resources"):
            if self._is_function(known) and self._name(known) == reference.name:
                return self._of_template(known, reference.qualifier, place)
        return self._stranger(reference.name, reference.qualifier, place)

    def _logical(self, value: Value, depth: int) -> tuple[str | None, str]:
        """The function's resource that a value names, and a qualifier; through its versions and aliases."""
        name, qualifier = _target(value), ""
        if name is None or depth > 5:  # noqa: PLR2004  # an alias of an alias of itself
            return None, ""
        if self._is_function(name):
            return name, qualifier
        resource = self.resolver.template.block("Resources").block(name)
        if resource.get("Type") not in _VERSIONED:
            return None, ""
        alias = resource.block("Properties").get("Name")
        logical, _ = self._logical(resource.block("Properties").get("FunctionName"), depth + 1)
        return logical, f":{alias}" if isinstance(alias, str) and _KEY.fullmatch(alias) else ""

    def _is_function(self, logical: str) -> bool:
        return self.resolver.template.block("Resources").block(logical).get("Type") == FUNCTION

    def _name(self, logical: str) -> str | Text | None:
        try:
            return self.resolver.name_of(logical)
        except Unresolvable:
            return None

    def _key(self, logical: str) -> str:
        """The function's name where it is given one, and else its logical id. Two never share a key."""
        if logical not in self._keys:
            name = self._name(logical)
            fit = isinstance(name, str) and _KEY.fullmatch(name) is not None and name not in self._keys.values()
            self._keys[logical] = str(name) if fit else logical[:64]
        return self._keys[logical]

    def _of_template(self, logical: str, qualifier: str, place: Place) -> Named | None:
        resources = self.resolver.template.block("Resources")
        resource, line = resources.block(logical), resources.line(logical, place.line)
        properties = resource.block("Properties")
        runtime = self.resolver.resolve(properties.get("Runtime"), Place(line=line, what=f"{logical}.Runtime"))
        if isinstance(runtime, str) and not runtime.startswith("python"):
            at = properties.line("Runtime", line)
            self.findings.leave_out(
                place.line,
                place.what.removesuffix(".FunctionName"),
                f"{logical} runs on {runtime} (line {at}), and handlers are Python here",
            )
            return None
        key = self._key(logical)
        if key not in self.drafts:
            self.drafts[key] = self._draft(key, logical, resource, line)
        return Named(key=key, qualifier=qualifier)

    def _draft(self, key: str, logical: str, resource: Block, line: int) -> FunctionDraft:
        properties, block, where = resource.block("Properties"), Block(), f"function {key}"
        image = properties.get("PackageType") == "Image" or ("ImageUri" in properties.block("Code") or "ImageUri" in properties)
        for name in _CARRIED:
            at = properties.line(name, line)
            place = Place(line=at, what=f"{logical}.{name}")
            value = self.resolver.resolve(properties.get(name), place)
            fit = fitted(value, _fields()[name], place, self.findings)
            if fit is NO_VALUE and name == "Handler":
                why = "is a container image, which names no handler" if image else "has no Handler"
                fit = self.resolver.gaps.make(f"{logical} Handler", f"{logical}.Handler", f"{logical} {why}: give it", at)
            if fit is not NO_VALUE:
                block.put(name, fit, at)
            if name == "Handler":
                self._code(block, resource, where, line)
        for name, message in _NOT_CARRIED.items():
            if properties.get(name):
                self.findings.leave_out(properties.line(name, line), f"{where}, {name}", message)
        return FunctionDraft(key=key, line=line, properties=block, origin="" if key == logical else logical)

    def _code(self, block: Block, resource: Block, where: str, line: int) -> None:
        properties = resource.block("Properties")
        at = properties.line("CodeUri", properties.line("Code", properties.line("InlineCode", line)))
        resolved = Block({**resource, "Properties": Block({**properties}, properties.lines)}, resource.lines)
        for name in ("CodeUri", "Code"):
            value = properties.get(name)
            if function_of(value) is not None:
                found = self.resolver.resolve(value, Place(line=at, what=f"{where}.{name}"))
                resolved.block("Properties")[name] = found if isinstance(found, str) else Block()
        path, why = code_of(resolved, self.folders)
        if path is None:
            self.findings.leave_out(at, f"{where}, CodeUri", why)
        elif path != ".":
            block.put("CodeUri", path, at)

    def _stranger(self, key: str, qualifier: str, place: Place) -> Named:
        """A function of somewhere else: nothing is known of it but its name."""
        if key not in self.drafts:
            reason = f"function {key} is not in the template, so its handler is not known: give it"
            handler = self.resolver.gaps.make(f"{key} Handler", f"{key}.Handler", reason, place.line)
            block = Block({"Handler": handler}, {"Handler": place.line})
            self.drafts[key] = FunctionDraft(key=key, line=place.line, properties=block, origin="not in the template")
            self.findings.note(place.line, f"function {key}", "it is not in the template: say where its code lies, in CodeUri")
        return Named(key=key, qualifier=qualifier)


def _target(value: Value) -> str | None:
    """The resource that a value is the name or the ARN of, in the simple ways to say so."""
    name = function_of(value)
    argument = value.get(name) if isinstance(value, Block) and name is not None else None
    match name, argument:
        case "Ref", str():
            return argument
        case "Fn::GetAtt", Items() if len(argument) == 2 and argument[1] == "Arn" and isinstance(argument[0], str):  # noqa: PLR2004
            return argument[0]
        case "Fn::GetAtt", str():
            return argument.removesuffix(".Arn")
        case "Fn::Sub", str() if found := _IN_SUB.fullmatch(argument):
            return found[1]
        case _:
            return None
