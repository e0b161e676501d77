"""Who must say yes to a change, by how much could go wrong with it. Plain words, no reading."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Ranked(StrEnum):
    """Words that stand in an order, the least first; as text they sort otherwise."""

    @property
    def rank(self) -> int:
        """The higher, the stricter or the more."""
        return list(type(self)).index(self)


class Review(Ranked):
    """Who must say yes to a change."""

    NONE = "none"
    AGENT = "agent"
    HUMAN = "human"


class RiskLevel(Ranked):
    """How much could go wrong with a change."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class ReviewByRisk(Struct, frozen=True, kw_only=True):
    """Who must say yes to a change, by how much could go wrong with it."""

    low: Review = Review.NONE
    normal: Review = Review.NONE
    high: Review = Review.NONE

    @classmethod
    def always(cls, review: Review) -> ReviewByRisk:
        """The same for every change."""
        return cls(low=review, normal=review, high=review)

    @property
    def each(self) -> tuple[Review, Review, Review]:
        """From the lowest risk to the highest."""
        return self.low, self.normal, self.high

    def at(self, level: RiskLevel) -> Review:
        """What holds for a change of this risk."""
        return self.each[level.rank]
