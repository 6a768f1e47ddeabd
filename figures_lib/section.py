"""Sections of a YAML file: frozen, strict about keys and types, errors in one line."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from figures_lib.errors import shown

LARGE = 10**9  # largest number accepted: float32 and int64 can hold products of two
SMALL = 1e-9  # smallest positive number accepted: far smaller ones are 0 in float32

PositiveInt = Annotated[int, Field(gt=0, le=LARGE)]
Count = Annotated[int, Field(ge=0, le=LARGE)]
Positive = Annotated[float, Field(ge=SMALL, le=LARGE, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=LARGE, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-LARGE, le=LARGE, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
FilePath = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of a configuration: frozen, and strict about keys and types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def name_in(table: Mapping[str, Any]) -> AfterValidator:
    """Check that a value names an entry of a table; the error lists the names."""
    names = " or ".join(map(repr, table))

    def check(name: str) -> str:
        if name not in table:
            raise PydanticCustomError(
                "name_in_table", "Input should be {names}", {"names": names}
            )
        return name

    return AfterValidator(check)


def one_line(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic report as ``key: what is wrong (found …)``."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, first["loc"][:-1]))
        return f"{key}: unknown key; the keys here are {known}{more}"
    if first["type"] == "value_error":
        return f"{first['ctx']['error']}{more}"
    if first["type"] == "missing":
        return f"{key}: required key is missing; add it{more}"
    return f"{key}: {first['msg']} (found {shown(first['input'], 80)}){more}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if part in model.model_fields:  # others are list indices and mapping keys
            (model,) = _sections(model.model_fields[str(part)].annotation)
    return list(model.model_fields)


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections in an annotation such as ``tuple[NeuronType, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections(part)]
