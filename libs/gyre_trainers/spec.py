"""`spec.json`: what one attempt trains, from what, to where. Closed: an unknown or malformed field is named and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self, TypeVar

from pydantic import Field, ValidationError, model_validator

from gyre_trainers.exits import BadInput
from gyre_trainers.methods import Method, settings_of
from gyre_trainers.settings import BadSetting, Closed, Health, Hyperparameters

DIGEST: Final = r"^(sha256:[0-9a-f]{64})?$"
RUN: Final = r"^projects/[^/]+/runs/[^/]+$"


class Artifact(Closed):
    """Weights: `gyre://…` (a folder's prefix, or the manifest that lists its files), `bundled://smollm2`,
    `hf://owner/name[@revision]` or `ms://owner/name[@revision]`. `digest` is the manifest's; empty is not checked."""

    uri: str = Field(min_length=1)
    digest: str = Field(default="", pattern=DIGEST)


class DataFile(Closed):
    """One Parquet file of a data set version. `rows` is how many it must hold; 0 is not checked."""

    uri: str = Field(min_length=1)
    digest: str = Field(default="", pattern=DIGEST)
    rows: int = Field(default=0, ge=0)


class Spec(Closed):
    run: str = Field(pattern=RUN)
    attempt: int = Field(ge=1)
    method: Method
    base: Artifact
    reward_model: Artifact | None = None
    data: list[DataFile] = Field(min_length=1)
    output_prefix: str = Field(min_length=1)
    resume_from: str | None = None
    begin_from: Artifact | None = Field(default=None, description="A checkpoint whose weights a fresh start takes.")
    health: Health = Health()
    hyperparameters: Hyperparameters = Hyperparameters()
    seed: int = Field(default=7, ge=0, lt=2**32)
    object_store: str = Field(pattern=r"^[a-z0-9+]+://")
    report_address: str = Field(pattern=r"^.+:\d+$")
    credential_file: Path
    threads: int = Field(default=2, ge=1, le=1024)

    @model_validator(mode="after")
    def _settings_of_the_method(self) -> Self:
        try:
            _, own = settings_of(self.method, self.hyperparameters.model_dump())
        except BadSetting as bad:
            raise ValueError(f"hyperparameters.{bad}") from bad
        if own.needs_reward_model and self.reward_model is None:
            raise ValueError(f"reward_model: {self.method} needs the result of a REWARD run")
        return self

    @property
    def run_prefix(self) -> str:
        """`runs/<ulid>`: below it each attempt has its own folder."""
        parts = self.output_prefix.strip("/").split("/")
        return "/".join(parts[:-1] if parts[-1].isdigit() else parts)

    @property
    def output(self) -> str:
        """`runs/<ulid>/<attempt>`: the only prefix that this attempt writes below."""
        return f"{self.run_prefix}/{self.attempt}"


AnySpec = TypeVar("AnySpec", bound=Spec)


def read_spec(path: Path, kind: type[AnySpec]) -> AnySpec:
    """Raises: BadInput that names the first wrong field and says what is wrong with it."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput("spec", f"{path} cannot be read ({error.strerror})", "give the path of a spec.json") from error
    except ValidationError as error:
        raise _first_fault(error) from error


def _first_fault(error: ValidationError) -> BadInput:
    fault = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"]) or "spec"
    problem = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":  # our own, which begins with the field
        inner, problem = problem.split(": ", 1)
        field = ".".join([*map(str, fault["loc"]), inner])
    return BadInput(field, problem, "correct it and create the run again")
