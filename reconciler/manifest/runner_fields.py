"""Where agents and checks run, as a manifest says it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.alias_generators import to_camel

from reconciler.manifest.durations import duration
from reconciler.manifest.fields import INLINE, NAMED, Fields, WrongBelowError, form
from reconciler.manifest.machines import wrong_lease, wrong_options, wrong_place
from reconciler.manifest.texts import (
    Line,
    Span,
)
from reconciler.model.venue import VenueKind


class RunnerFields(Fields):
    """The machines that agents, or checks, run on, and who places them there."""

    kind: Annotated[VenueKind, Field(strict=False)] = Field(
        default=VenueKind.LOCAL,
        description="local: this machine. slurm: an existing Slurm. ssh: hosts that are reached so. here: pretend nodes on "
        "this machine, to try it out.",
        examples=["slurm"],
    )
    remote: Line | None = Field(
        default=None,
        description="A git repository that the nodes and this machine can push to. Default: that of spec.runner, else the remote of "
        "the base.",
        examples=["ssh://ctl/srv/app.git"],
    )
    scratch: Line = Field(
        default="/var/tmp/reconcile",
        description="A folder of every node, under the same path; it need not be shared.",
        examples=["/scratch/reconcile"],
    )
    sync: Span = Field(
        default="30s",
        description="How often a node reports: what is newer is lost with it, and logs lag by as much.",
        examples=["2m"],
    )
    lease: Span = Field(
        default="15m",
        description="A node that has been out of contact for so long halts what it runs; after twice that it is given up.",
        examples=["30m"],
    )
    options: list[Line] = Field(
        default=[],
        description="What sbatch is given beside: limits, partitions, accounts. Of kind ssh: what ssh is given.",
        examples=[["--partition=agents", "--cpus-per-task=2", "--mem=4G"]],
    )
    hosts: list[Line] = Field(
        default=[],
        description="Of kind ssh, and needed there: hosts as in ~/.ssh/config.",
        examples=[["build1", "build2"]],
    )
    per_host: int = Field(default=4, ge=1, le=1000, description="Of kind ssh: runs at once on each host.", examples=[2])

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        self._expect_whole()
        return self

    def _expect_whole(self) -> None:
        given = self.model_fields_set - {"kind"}
        if self.kind is VenueKind.LOCAL and given:
            raise ValueError(
                f"{to_camel(min(given))} is for runs on other machines; allowed for kind local: nothing else"
            )
        if self.kind is VenueKind.SLURM and given & {"hosts", "per_host"}:
            raise ValueError("Slurm knows its nodes; allowed: options, such as --partition=agents")
        if self.kind in (VenueKind.SSH, VenueKind.HERE) and not self.hosts:
            raise ValueError(f"hosts is missing; kind {self.kind} needs to be told where agents may run")
        if self.kind is VenueKind.LOCAL:
            return
        if option := wrong_options(self.kind, self.options):
            raise WrongBelowError(option[1], "options", option[0])
        wrong = wrong_place(self.remote, self.scratch, self.hosts) or wrong_lease(
            self.kind, duration(self.sync), duration(self.lease)
        )
        if wrong:
            raise ValueError(wrong)


Runner = Annotated[
    Annotated[RunnerFields, Tag(INLINE)] | Annotated[Literal["local", "slurm"], Tag(NAMED)], Discriminator(form)
]
"""The fields, or the name of a kind that needs none."""


class PlacingFields(RunnerFields):
    """Where some tasks are worked on instead: another runner, by its kind, or that of the others with other options."""

    kind: Annotated[VenueKind, Field(strict=False)] | None = Field(  # type: ignore[assignment]
        default=None,
        description="As in spec.runner. Default: that one, which is Slurm then, and nothing but options stands here.",
        examples=["ssh"],
    )

    def _expect_whole(self) -> None:
        if self.kind is not None:
            super()._expect_whole()
        elif given := self.model_fields_set - {"options"}:
            raise ValueError(
                f"{to_camel(min(given))} is of a runner whose kind is missing; without one, allowed: options"
            )
        elif "options" not in self.model_fields_set:
            raise ValueError("says nothing; allowed: options for Slurm, or another runner with its kind")
        elif wrong := wrong_options(VenueKind.SLURM, self.options):
            raise WrongBelowError(wrong[1], "options", wrong[0])


Placing = Annotated[
    Annotated[PlacingFields, Tag(INLINE)] | Annotated[Literal["local", "slurm"], Tag(NAMED)], Discriminator(form)
]
"""The fields, or the name of a kind that needs none."""
