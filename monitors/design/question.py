"""What is asked of a model's features, and what is each of them made from?"""

from collections.abc import Iterator
from dataclasses import dataclass

from features.definitions import Definitions, Feature, Model
from features.design import Target, targets
from features.order import Edge, Order
from monitors.design.words import Reason


@dataclass(frozen=True, slots=True)
class Question:
    """One model, in the order of events of its configuration."""

    definitions: Definitions
    order: Order
    model: Model

    @property
    def asked(self) -> str:
        """The event at which the model is asked."""
        return self.model.hints.anchor

    def join_of(self, feature: str) -> str:
        """How training joins a feature; undeclared counts as the worst it may have done."""
        return self.model.join.get(feature, "latest")


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A feature inside another one: the lines that lead to it, the greatest least delay on the way (microseconds)."""

    feature: Feature
    reasons: tuple[Reason, ...]
    lag_us: int


def ingredients(definitions: Definitions, feature: Feature) -> Iterator[Ingredient]:
    """The feature itself, then every feature that it is made from, each once, the nearest first."""
    queue, seen = [Ingredient(feature, (), _lag_us(feature))], {feature.name}
    for item in queue:
        yield item
        for name in item.feature.hints.inputs:
            if name in definitions.features and name not in seen:
                seen.add(name)
                inner = definitions.features[name]
                fact = Reason(f"{item.feature.name} is made from {name}", f"[feature.{item.feature.name}] inputs")
                queue.append(Ingredient(inner, (*item.reasons, fact), max(item.lag_us, _lag_us(inner))))


def reads(definitions: Definitions, feature: Feature) -> Iterator[tuple[Target, str]]:
    """The columns that a feature reads itself, and sources of which it reads whole rows; with the key that says so."""
    if feature.column is not None:
        yield Target(source=feature.source, column=feature.column), "column"
    for key in ("where", "expr"):
        text = getattr(feature, key)
        if text is not None:
            from features.expressions import infer_kinds  # brings Polars, which most configurations need not wait for

            for column in infer_kinds(text, result="bool" if key == "where" else "number"):
                yield Target(source=feature.source, column=column), key
    if feature.aggregate == "count" and feature.column is None and feature.expr is None:
        yield Target(source=feature.source), "aggregate"
    for name in feature.hints.inputs:
        for target in targets(definitions, name):
            if target.source:
                yield target, "inputs"


def told(edges: list[Edge]) -> list[Reason]:
    """Rules of the order as lines of a proof."""
    return [Reason(str(edge), edge.rule.place) for edge in edges]


def _lag_us(feature: Feature) -> int:
    return feature.hints.delay.min_us if feature.hints.delay else 0
