"""Works out the values of a template, as far as it and what is given from outside say what they come to.

Laws: `resolve` raises nothing, whatever the template holds (a `RecursionError` alone passes through); what cannot be known
becomes a gap, which says why; what refers to itself ends; no text grows without bound.
"""

import re
import string
from dataclasses import dataclass, field
from typing import Final

from runtime.importing.conditions import holds
from runtime.importing.gaps import Gaps
from runtime.importing.intrinsics import FUNCTIONS, Unresolvable, bounded, function_of, text_of
from runtime.importing.resources import A_LABEL, CONSUMER, KINDS, STREAM_ARN, Kind, partition_of, suffix_of
from runtime.importing.values import NO_VALUE, Block, Gap, Items, Place, Text, Value, joined, parts_of, stand_in

_DYNAMIC: Final = re.compile(r"\{\{resolve:(?P<what>[^{}]*)\}\}")
SAMPLE_REGION: Final = "us-east-1"
SAMPLE_ACCOUNT: Final = "000000000000"
"""What stands in for a region and an account that are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user says from outside. What is None is not known."""

    parameters: dict[str, str] = field(default_factory=dict)
    region: str | None = None
    account: str | None = None
    stack: str | None = None
    stage: str | None = None
    """Of a serverless.yml."""


@dataclass(slots=True, kw_only=True)
class Resolver:
    """Works out the values of one template."""

    template: Block
    given: Given
    gaps: Gaps = field(default_factory=Gaps)
    _attributes: dict[tuple[str, str], str | Text] = field(default_factory=dict)
    _conditions: dict[str, bool | None] = field(default_factory=dict)
    _open: set[tuple[str, str]] = field(default_factory=set)
    """What is being worked out at this moment."""

    def resolve(self, value: Value, place: Place) -> Value:
        """The value without functions; keys and items that come to `AWS::NoValue` are left out."""
        match value:
            case Block() if (name := function_of(value)) is not None:
                return self._function(name, value, place)
            case Block():
                found = Block()
                for key, inner in value.items():
                    line = value.line(key, place.line)
                    resolved = self.resolve(inner, place.inner(key, line))
                    if resolved is not NO_VALUE:
                        found.put(key, resolved, line)
                return found
            case Items():
                pairs = [
                    (self.resolve(inner, place.inner(str(index), line)), line)
                    for index, inner in enumerate(value)
                    for line in [value.line(index, place.line)]
                ]
                kept = [(each, line) for each, line in pairs if each is not NO_VALUE]
                return Items([each for each, _ in kept], tuple(line for _, line in kept))
            case str() if "{{resolve:" in value:
                return self._dynamic(value, place)
            case _:
                return value

    def condition(self, name: str) -> bool | None:
        """None when it hangs on something that is not known, or makes no sense."""
        if name not in self._conditions:
            key = ("condition", name)
            conditions = self.template.block("Conditions")
            if key in self._open or name not in conditions:
                return None
            self._open.add(key)
            self._conditions[name] = holds(self, conditions[name], Place(line=conditions.line(name, 1), what=name))
            self._open.discard(key)
        return self._conditions[name]

    def reference(self, name: str, place: Place) -> Value:
        """What `Ref` comes to."""
        if name in self.template.block("Parameters"):
            return self._parameter(name)
        if name in self.template.block("Resources"):
            return self.attribute(name, "", place)
        return self._pseudo(name, place)

    def attribute(self, logical: str, attribute: str, place: Place) -> str | Text:
        """What `Fn::GetAtt` comes to; of no attribute, what `Ref` of the resource does."""
        key = (logical, attribute)
        if key in self._open:
            raise Unresolvable(f"{logical} is made of itself")
        if key not in self._attributes:
            self._open.add(key)
            try:
                self._attributes[key] = self._attribute(logical, attribute, place)
            finally:
                self._open.discard(key)
        return self._attributes[key]

    def name_of(self, logical: str) -> str | Text | None:
        """The name that a resource is given; None when CloudFormation makes one."""
        resource = self.template.block("Resources").block(logical)
        kind = KINDS.get(str(resource.get("Type")))
        properties = resource.block("Properties")
        if kind is None or properties.get(kind.name) is None:
            return None
        line = properties.line(kind.name, 1)
        name = self.resolve(properties[kind.name], Place(line=line, what=f"{logical}.{kind.name}"))
        return None if name is NO_VALUE else bounded(text_of(name))

    def _function(self, name: str, value: Block, place: Place) -> Value:
        line = value.line(name, place.line)
        here = Place(line=line, what=place.what)
        try:
            work = FUNCTIONS.get(name)
            if work is None:
                raise Unresolvable(f"{name} is not worked out here")  # noqa: TRY301  # one way out for whatever fails
            found = work(self, value[name], here)
            return bounded(found) if isinstance(found, str | Text) else found
        except Unresolvable as fault:
            reason = f"{fault}, so the value of {place.what} is not known: give it"
            return self.gaps.make(f"{place.what} {value!r}"[:10_000], place.what, reason, line)

    def _dynamic(self, value: str, place: Place) -> str | Text:
        """`{{resolve:ssm:name}}`: kept where only the deployed stack can look."""
        parts: list[str | Gap] = []
        end = 0
        for found in _DYNAMIC.finditer(value):
            what = found["what"]
            reason = f"{found[0]} is looked up by CloudFormation at each deployment: give what it comes to"
            parts += [value[end : found.start()], *self.gaps.make(what, what.partition(":")[2] or what, reason, place.line).parts]
            end = found.end()
        return joined([*parts, value[end:]])

    def _parameter(self, name: str) -> Value:
        parameters = self.template.block("Parameters")
        block, line = parameters.block(name), parameters.line(name, 1)
        kind = str(block.get("Type", "String"))
        default = block.get("Default")
        if name in self.given.parameters:
            value: Value = self.given.parameters[name]
        elif kind.startswith("AWS::SSM::Parameter::Value"):
            what = (
                f"parameter {name} is looked up in SSM ({default})" if default is not None else f"parameter {name} is an SSM name"
            )
            return self.gaps.make(name, name, f"{what}: give what it holds, or --parameter {name}=VALUE", line)
        elif str(block.get("NoEcho", "")).lower() == "true":
            return self.gaps.make(name, name, f"parameter {name} has NoEcho, so it is not written into a file: give it", line)
        elif default is None or isinstance(default, Block | Items):
            return self.gaps.make(name, name, f"parameter {name} has no default: give it, or --parameter {name}=VALUE", line)
        else:
            value = default
        if kind == "CommaDelimitedList" or kind.startswith("List<"):
            return Items([each.strip() for each in str(value).split(",")])
        return value

    def _pseudo(self, name: str, place: Place) -> Value:
        given = self.given
        known: dict[str, tuple[str | None, str, str, str]] = {
            "AWS::Region": (given.region, "region", "--region", SAMPLE_REGION),
            "AWS::AccountId": (given.account, "account", "--account-id", SAMPLE_ACCOUNT),
            "AWS::StackName": (given.stack, "name of the stack", "--stack-name", "stack"),
            "AWS::Partition": (partition_of(given.region), "", "", ""),
            "AWS::URLSuffix": (suffix_of(given.region), "", "", ""),
        }
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in known:
            value, what, option, sample = known[name]
            if value is not None:
                return value
            reason = f"the template does not say the {what}: give it, or {option}"
            return self.gaps.make(name, name, reason, place.line, stand_in=sample, word=True)
        if name.startswith("AWS::"):
            return self.gaps.make(name, name, f"{name} is known only to the deployed stack: give it", place.line)
        reason = f"there is neither a parameter nor a resource {name} in the template: give its value"
        return self.gaps.make(f"Ref {name}", name, reason, place.line)

    def _attribute(self, logical: str, attribute: str, place: Place) -> str | Text:
        resources = self.template.block("Resources")
        resource, line = resources.block(logical), resources.line(logical, place.line)
        kind_name = str(resource.get("Type"))
        kind = KINDS.get(kind_name)
        words = f"{logical}.{attribute or _ref_word(kind)}"
        if logical not in resources:
            reason = f"there is no resource {logical} in the template: give its {attribute}"
            return self.gaps.make(words, words, reason, place.line)
        if kind_name == CONSUMER and attribute in ("", "ConsumerARN", "StreamARN"):
            stream = resource.block("Properties").get("StreamARN")  # read through the stream itself, see `cloudformation`
            return text_of(self.resolve(stream, Place(line=line, what=words)))
        name = self.name_of(logical)
        pattern = None if kind is None else (kind.attributes.get(attribute) if attribute else kind.ref)
        if kind is not None and attribute == STREAM_ARN and "Arn" in kind.attributes:
            return self._stream_arn(logical, words, kind.attributes["Arn"], name, line)
        if kind is None or pattern is None:
            reason = f"the {attribute or 'reference'} of {logical} ({kind_name}) is known only when it is deployed: give it"
            return self.gaps.make(words, words, reason, place.line)
        if name is None:
            sample = self._filled(pattern, _sample_name(resource, logical), line, sample=True)
            reason = f"{logical} has no {kind.name}, so CloudFormation makes one: give {_what(kind, attribute)}"
            return self.gaps.make(words, words, reason, line, stand_in=stand_in(sample))
        return self._filled(pattern, name, line)

    def _stream_arn(self, logical: str, words: str, arn: str, name: str | Text | None, line: int) -> Text:
        table = stand_in(name) if name is not None else ""
        sample = stand_in(self._filled(arn + A_LABEL, table or "table", line, sample=True))
        told = f"`aws dynamodb describe-table --table-name {table or '<its name>'}`"
        reason = (
            f"the ARN of a table's stream is known only when it is deployed: give the LatestStreamArn of {told} for {logical}"
        )
        return self.gaps.make(words, words, reason, line, stand_in=sample)

    def _filled(self, pattern: str, name: str | Text, line: int, *, sample: bool = False) -> str | Text:
        """`sample`: with something of its kind where region and account are not known."""
        place = Place(line=line, what="")
        region = self._pseudo("AWS::Region", place) if not sample else self.given.region or SAMPLE_REGION
        account = self._pseudo("AWS::AccountId", place) if not sample else self.given.account or SAMPLE_ACCOUNT
        values: dict[str, Value] = {
            "name": name,
            "region": region,
            "account": account,
            "partition": partition_of(self.given.region),
            "suffix": suffix_of(self.given.region),
        }
        parts: list[str | Gap] = []
        for literal, word, _, _ in string.Formatter().parse(pattern):
            parts.append(literal)
            if word is not None:
                parts += parts_of(text_of(values[word]))
        return joined(parts)


def _sample_name(resource: Block, logical: str) -> str:
    fifo = str(resource.block("Properties").get("FifoQueue", "")).lower() == "true"
    return re.sub(r"[^A-Za-z0-9_-]", "", logical)[:75] + (".fifo" if fifo else "")


def _ref_word(kind: Kind | None) -> str:
    """What `Ref` gives, in a word."""
    return (
        "Ref" if kind is None else ("Url" if kind.ref.startswith("https:") else "Arn" if kind.ref.startswith("arn:") else "Name")
    )


def _what(kind: Kind, attribute: str) -> str:
    pattern = kind.attributes.get(attribute) if attribute else kind.ref
    if pattern is not None and pattern.startswith("arn:"):
        return "its ARN"
    return "its URL" if pattern is not None and pattern.startswith("https:") else "its name"
