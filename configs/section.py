"""What all sections of params.yaml share: strictness, common types, and reading with errors that name key and remedy.

Every parameter's name, type and bounds stand in the module of its stage, so that a new parameter of one stage does not
re-run the others: section `synth:` = `configs/synth.py` = `class Synth` = stage `synth` = `stages/synth.py`. Values
live in params.yaml only; no section has a default.
"""

from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from configs.errors import BadRequest

Chance = Annotated[float, Field(ge=0, le=1)]  # a probability
Share = Annotated[float, Field(ge=0, le=1)]  # a part of a whole, 1 is all of it
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]  # pixels; 32 is the stride of the deepest encoder stage
Size = Side | Annotated[list[Side], Field(min_length=2, max_length=2)]  # a square's side, or [height, width]

SHOWN_LETTERS = 100  # of a wrong value, in an error
PARAMETERS = frozenset(
    "seed size_px data scenes parts index cluster visible inpaint synth quality card".split()  # noqa: SIM905
    + "model features train evaluate".split()  # noqa: SIM905
)


class Section(BaseModel):
    """A strict, frozen section: unknown keys, values of a wrong type and no numbers are errors, never conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Range(Section):
    """A closed interval [low, high]."""

    low: float
    high: float

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


def _of_shares(found: Range) -> Range:
    if found.low < 0 or found.high > 1:
        raise ValueError(f"wanted parts of a whole, in [0, 1]; found {found.low} .. {found.high}")
    return found


def _of_factors(found: Range) -> Range:
    if found.low <= 0:
        raise ValueError(f"wanted factors above 0; found {found.low} .. {found.high}")
    return found


ShareRange = Annotated[Range, AfterValidator(_of_shares)]
PositiveRange = Annotated[Range, AfterValidator(_of_factors)]


class Params(BaseModel):
    """The part of params.yaml that one stage uses; each stage has its own subclass."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    seed: Annotated[int, Field(ge=0)]


ParamsT = TypeVar("ParamsT", bound=Params)


def load(wanted: type[ParamsT], path: str | Path = "params.yaml") -> ParamsT:
    """Read and check the part of a params file that `wanted` names.

    Raises:
        BadRequest: the file is missing, is not YAML, or a value is missing, unknown, of a wrong type or out of bounds.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise BadRequest(
            f"{path}: no such file; run from the project's root, or `cp configs/demo.yaml {path}`"
        ) from None
    except yaml.YAMLError as error:
        raise BadRequest(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise BadRequest(f"{path}: found {type(values).__name__}, wanted sections such as `synth:`")
    unknown = sorted(set(map(str, values)) - PARAMETERS)
    if unknown:
        raise BadRequest(f"{path}: {unknown[0]} is not a parameter; there are {', '.join(sorted(PARAMETERS))}")
    try:
        return wanted.model_validate(values)
    except ValidationError as error:
        raise BadRequest(f"{path}: {'; '.join(map(explain, error.errors()))}") from None


def explain(error: Any) -> str:
    """One pydantic error as `key = value: what is wrong`, in one line, with the remedy where YAML sets a trap."""
    parts = (str(part) for part in error["loc"] if not str(part).startswith(("function-", "constrained-")))
    key = " ".join(".".join(parts).split())
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        return f"{key} is not a parameter"
    hint = ""
    if isinstance(error["input"], str) and _is_number(error["input"]):
        # YAML 1.1 reads `1e-4` as a string; only `1.0e-4` is a number.
        hint = f" (a string; write {float(error['input'])!r} with a point, as in 1.0e-4)"
    found = " ".join(repr(error["input"]).split())
    shown = found if len(found) <= SHOWN_LETTERS else f"{found[:SHOWN_LETTERS]}.."
    return f"{key} = {shown}: {error['msg']}{hint}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
