"""The frozen record all parts of a config are, and the ranges their fields share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST = 1_000_000_000  # of anything that is counted: far over any use, and it fits the 32-bit integers of file formats
LARGEST_SEED = 2**62  # room in 64 bits for the numbers of ranks and items that are added to a seed
LARGEST_SIDE = 4096  # of pictures and planes: over that, one does not fit into the memory of a machine

Positive = Annotated[int, Field(ge=1, le=MOST)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Side = Annotated[int, Field(ge=16, le=LARGEST_SIDE)]
Real = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
PlaneSide = Annotated[int, Field(ge=8, le=LARGEST_SIDE)]


class Section(BaseModel):
    """A frozen part of the config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)
