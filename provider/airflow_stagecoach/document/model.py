"""The base of all models, and the kinds of values their keys take.

Every fault is raised in our own words (:func:`fault`), so nobody ever reads pydantic's. Keys are kebab-case,
snake_case is the same key; an unknown key, an explicit null or a key written twice is a fault of its own and
hides no other.
"""

# pydantic evaluates the annotations of models when it runs:
# ruff: noqa: TC003

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from airflow_stagecoach.document.diagnostics import DocumentError, did_you_mean, found, one_of
from airflow_stagecoach.document.problems import problems_of

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ModelMetaclass
    from typing_extensions import Self
else:
    # It has no public name.
    _ModelMetaclass = type(BaseModel)


def fault(
    code: str,
    message: str,
    hint: str | None = None,
    *,
    on_key: bool = False,
    span: tuple[int, int] | None = None,
) -> PydanticCustomError:
    """A fault of the value that a validator looks at; raise it, or give it to :class:`Faults`."""
    return PydanticCustomError(
        "stagecoach",
        "{message}",
        {"code": code, "message": message, "hint": hint, "on_key": on_key, "span": span},
    )


def on_key(error: PydanticCustomError) -> PydanticCustomError:
    """The same fault, of a key and not of its value."""
    context = error.context or {}
    return fault(context["code"], context["message"], context["hint"], on_key=True)


#: Names of maps that are no countable things.
_WITHOUT_ARTICLE = frozenset({"notify", "logging", "concurrency", "on-oom"})


class Faults:
    """Collects the faults of one value, so that none hides another."""

    def __init__(self) -> None:
        self._details: list[InitErrorDetails] = []

    def add(self, error: PydanticCustomError, *path: str | int) -> None:
        """Note a fault at ``path`` below the value."""
        self._details.append(InitErrorDetails(type=error, loc=path, input=None))

    def add_all(self, error: ValidationError, *path: str | int) -> None:
        """Note all faults of a nested model that stands at ``path``."""
        for detail in error.errors(include_url=False, include_input=False):
            problem = detail.get("ctx") or {}
            if detail["type"] == "stagecoach":
                self.add(PydanticCustomError("stagecoach", "{message}", problem), *path, *detail["loc"])
            else:
                self.add(fault("bad-value", detail["msg"]), *path, *detail["loc"])

    def check(self, validate: Callable[[Any], Any], value: Any, *path: str | int) -> Any:
        """``validate(value)``, or None after noting its faults at ``path``."""
        try:
            return validate(value)
        except PydanticCustomError as error:
            self.add(error, *path)
        except ValidationError as error:
            self.add_all(error, *path)
        return None

    def meant(self, key: str) -> bool:
        """Whether a hint already says that ``key`` was meant: then it is misspelt, not missing."""
        types = [detail["type"] for detail in self._details]
        hints = {(kind.context or {}).get("hint") for kind in types if isinstance(kind, PydanticCustomError)}
        return bool(hints & {f"did you mean '{key}'?", f"write {key}"})

    def raise_any(self) -> None:
        """Raise all faults noted, if there are any."""
        if self._details:
            raise ValidationError.from_exception_data("document", self._details)


class _Construct(_ModelMetaclass):
    """Makes a model built in Python raise :class:`DocumentError` in place of pydantic's error."""

    if not TYPE_CHECKING:

        def __call__(self, *args, **kwargs):
            try:
                return super().__call__(*args, **kwargs)
            except ValidationError as error:
                problems = problems_of(error)
            raise DocumentError([problem.without_position() for problem in problems])


def kebab(name: str) -> str:
    """The spelling in a document of a field."""
    return name.rstrip("_").replace("_", "-")


class Model(BaseModel, metaclass=_Construct):
    """A map of a document: closed, kebab-case or snake_case, every fault in words for its author."""

    model_config = ConfigDict(
        extra="forbid", populate_by_name=True, alias_generator=kebab, validate_default=False
    )

    #: What the map is called in messages.
    noun: ClassVar[str] = "map"
    #: Keys that people bring from other tools -> what to write here.
    habits: ClassVar[Mapping[str, str]] = {}
    #: Keys that must be there -> what to write where one is not.
    needed: ClassVar[Mapping[str, str]] = {}
    #: Keys that may be written with nothing after the colon.
    nullable: ClassVar[frozenset[str]] = frozenset({"desc"})

    _line: int = PrivateAttr(default=1)

    @classmethod
    def keys(cls) -> dict[str, str]:
        """Spelling in a document -> field name, in order."""
        return _keys(cls)

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, handler: Callable[[Any], Self], info: ValidationInfo) -> Self:
        if isinstance(data, cls):
            return data
        if not isinstance(data, dict):
            shown = one_of(f"'{key}'" for key in list(cls.keys())[:4])
            raise fault(
                "wrong-type",
                f"expected {article(cls.noun)} (a map with keys such as {shown}), found {found(data)}",
            )
        context: dict[str, Any] | None = info.context
        faults = Faults()
        clean, seen = cls._take_keys(data, faults, written=context is not None)
        for name, alias in _required(cls).items():
            if name not in seen and not faults.meant(alias):
                message = f"{article(cls.noun)} needs '{alias}'"
                faults.add(fault("missing-key", message, cls.needed.get(alias), on_key=True))
        model: Self | None = None
        try:
            model = handler(clean)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                if detail["type"] == "stagecoach":
                    faults.add(PydanticCustomError("stagecoach", "{message}", detail["ctx"]), *detail["loc"])
                elif detail["type"] != "missing":
                    faults.add(fault("bad-value", detail["msg"]), *detail["loc"])
        faults.raise_any()
        assert model is not None
        if context is not None:
            model._line = context.get("lines", {}).get(id(data), 1)
        return model

    @classmethod
    def _take_keys(
        cls, data: dict[Any, Any], faults: Faults, *, written: bool
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The values of ``data`` by field name, and the spelling of every known key in it.

        Notes unknown keys, keys written twice, and in a document (``written``) keys without a value.
        """
        names = _spellings(cls)
        clean: dict[str, Any] = {}
        first: dict[str, str] = {}
        for key, value in data.items():
            text = str(key)
            field = names.get(text.replace("-", "_"))
            if field is None:
                faults.add(fault("unknown-key", *cls.unknown_key(text, data), on_key=True), text)
            elif field in first:
                message = f"'{text}' and '{first[field]}' are the same key"
                faults.add(fault("duplicate-key", message, "remove one of the two", on_key=True), text)
            else:
                first[field] = text
                if value is not None or text.replace("_", "-") in cls.nullable:
                    clean[field] = value
                elif written:
                    hint = "give it a value, or remove the key"
                    faults.add(fault("null-value", f"'{text}' has no value", hint, on_key=True), text)
        return clean, first

    @classmethod
    def unknown_key(cls, key: str, data: Mapping[str, Any]) -> tuple[str, str | None]:
        """Message and hint for a key that this model does not have."""
        habit = habit_of(cls.habits, key, data)
        expected = f"the keys of {article(cls.noun)} are {', '.join(cls.keys())}"
        return f"unknown key '{key}' in {article(cls.noun)}", habit or did_you_mean(key, cls.keys(), expected)


def habit_of(habits: Mapping[str, str], key: str, data: Mapping[str, Any]) -> str | None:
    """What to write in place of a key of another tool, with the value of ``data`` where that is the same."""
    norm = key.replace("_", "-")
    value = data.get(key)
    if norm == "timeout-minutes" and not isinstance(value, bool) and re.fullmatch(r"\d+(\.\d+)?", str(value)):
        return f"write timeout: {value}m"
    return habits.get(norm)


@cache
def _keys(cls: type[Model]) -> dict[str, str]:
    return {field.alias or name: name for name, field in cls.model_fields.items()}


@cache
def _spellings(cls: type[Model]) -> dict[str, str]:
    """Every spelling of a key, hyphens as underscores -> field name."""
    return {spelling.replace("-", "_"): name for key, name in _keys(cls).items() for spelling in (key, name)}


@cache
def _required(cls: type[Model]) -> dict[str, str]:
    """Field name -> key of what cannot be absent."""
    fields = cls.model_fields
    return {name: key for key, name in _keys(cls).items() if fields[name].is_required()}


def article(noun: str) -> str:
    """``a job``, ``an empty stage``, ``defaults``."""
    if noun.endswith("s") or noun in _WITHOUT_ARTICLE:
        return noun
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
