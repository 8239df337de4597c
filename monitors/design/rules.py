"""Does the label reach a feature, or the choice of the training rows, by another way than time?"""

from collections.abc import Iterator

from features.definitions import Feature, Label
from features.design import Target
from features.times import duration_text
from monitors.design.question import Question, ingredients, reads, told
from monitors.design.words import Design, Reason, Ruling


def mutable_by_label(question: Question, feature: Feature) -> Iterator[Ruling]:
    """Events that change the feature, or what it is made from, and that do not surely come before the prediction.

    Only under the join "latest": as of the prediction, a later change cannot be seen.
    """
    if question.join_of(feature.name) != "latest":
        return
    facts: list[Reason] = []
    for item in ingredients(question.definitions, feature):
        changes = [r for event in item.feature.mutable_by for r in _change(question, item.feature, event)]
        facts += [*item.reasons, *changes] if changes else []
    if not facts:
        return
    where = f"[model.{question.model.name}] join"
    if feature.name in question.model.join:
        facts.append(Reason(f"training joins the latest value of {feature.name}", where))
    else:
        facts.append(Reason(f"how training joins {feature.name} is not declared, so it counts as latest", where))
    facts.append(Reason("so training sees what no prediction saw; it would not if it were joined as_of"))
    yield Ruling(Design.MUTABLE_BY_LABEL, tuple(facts))


def _change(question: Question, feature: Feature, event: str) -> list[Reason]:
    label, order, asked = question.model.label, question.order, question.asked
    is_label = label is not None and label.hints.anchor == event
    if order.is_before(event, asked) and not is_label:
        return []
    said = [Reason(f"{event} changes {feature.name}", f"[feature.{feature.name}] mutable_by")]
    if is_label:
        said.append(Reason(f"{event} is the label event", f"[model.{question.model.name}] label.anchor"))
    if order.is_before(asked, event):
        return [*said, *told(order.why_least(asked, event))]
    if event == asked:
        return [*said, Reason(f"{event} is not before itself")]
    if order.is_before(event, asked):
        return said
    return [*said, Reason(f"nothing in [order] puts {event} before {asked}, so it may come after it")]


def derived_from_label(question: Question, feature: Feature) -> Iterator[Ruling]:
    """Does the feature, or what it is made from, read the label's column or its source as a whole?

    Allowed with a least delay that covers the writing of the label.
    """
    label, where = question.model.label, f"[model.{question.model.name}] label"
    if label is None:
        return
    for item in ingredients(question.definitions, feature):
        for target, key in reads(question.definitions, item.feature):
            if not _is_label(target, label):
                continue
            late = _too_fresh(label, item.lag_us, where)
            if late is not None:
                name = item.feature.name
                read = f"{name} reads {_said(target)}"
                what = Reason(f"the label is {label.source}.{label.column} = {label.equals!r}", where)
                reasons = (*item.reasons, Reason(read, f"[feature.{name}] {key}"), what, late)
                yield Ruling(Design.DERIVED_FROM_LABEL, reasons)
                return


def _too_fresh(label: Label, lag_us: int, where: str) -> Reason | None:
    """Why the lag of a feature does not cover the writing of the label; None if it does."""
    written = label.hints.delay
    if not lag_us:
        return Reason("so it holds the label itself: no least delay keeps it behind the writing of labels")
    if written is None or written.bound_us is None:
        said = f"it is at least {duration_text(lag_us)} behind, but nothing declares how late labels are written"
        return Reason(said, f"{where}.delay")
    if lag_us < written.bound_us:
        took = duration_text(written.bound_us)
        return Reason(f"so it is at least {duration_text(lag_us)} behind, and a label may be written {took} later")
    return None


def label_in_selection(question: Question, target: Target) -> Reason | None:
    """Is the selected column the label's, or a row of its source as a whole?"""
    label = question.model.label
    if label is None or target.feature or not _is_label(target, label):
        return None
    return Reason(f"{_said(target)} is what the label is made from", f"[model.{question.model.name}] label")


def _is_label(target: Target, label: Label) -> bool:
    return target.source == label.source and target.column in ("", label.column)


def _said(target: Target) -> str:
    return f"{target.source}.{target.column}" if target.column else f"whole rows of {target.source}"
