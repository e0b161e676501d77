"""A task that a manifest declares."""

from __future__ import annotations

from pydantic import Field

from reconciler.manifest.fields import Fields
from reconciler.manifest.texts import Key, Label, LikelyPath, Line, Text


class TaskFields(Fields):
    """A task that is made once in the tracker and found again by its key."""

    key: Key = Field(description="Its name within this manifest.", examples=["parser"])
    title: Line = Field(description="What is to be done, in one line.", examples=["Write the parser"])
    description: Text = Field(
        default="", description="What is to be done, at length.", examples=["See docs/grammar.md"]
    )
    acceptance: Text = Field(default="", description="What must be true when it is done.", examples=["Its tests pass"])
    priority: int = Field(
        default=2, ge=0, le=4, description="How urgent it is: 0 is the most urgent, 4 the least.", examples=[1]
    )
    labels: list[Label] = Field(default=[], description="Labels of the task.", examples=[["backend"]])
    depends_on: list[str] = Field(
        default=[], description="Keys of this list, or ids of tasks, that must be done first.", examples=[["lexer"]]
    )
    paths: list[LikelyPath] = Field(
        default=[],
        description="Paths, or globs, that it will likely change: of equally urgent tasks those start first that meet nobody. "
        "They become labels, paths: and one each.",
        examples=[["src/parser/**"]],
    )
