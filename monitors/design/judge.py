"""Which declared features can never, or not always, be known when their model is asked?

Proved from the declarations alone (`[order]`, anchors, delays, inputs, joins), before a line of a feature is computed.
The proof is as good as what was declared; judges at runtime compare that with what happens.
"""

from collections.abc import Iterable, Iterator

from features.definitions import Definitions, Feature
from features.design import Target, targets
from features.order import Order
from monitors.design.question import Question, ingredients
from monitors.design.rules import derived_from_label, label_in_selection, mutable_by_label
from monitors.design.timing import timing
from monitors.design.words import Design, DesignVerdict, Reason, Ruling


def judge(definitions: Definitions) -> tuple[DesignVerdict, ...]:
    """A verdict for every feature of every model, in order of declaration, and one for each declared choice of rows.

    Parameters
    ----------
    definitions
        Without problems: `features.declare` has refused an order that contradicts itself.

    Examples
    --------
    >>> from features.definitions import Delay, Feature, FeatureHints, Model, Precedes, Run
    >>> hints = FeatureHints(anchor="departure", delay=Delay(max_us=0))
    >>> late = Feature(name="dep_time", source="flights", column="dep_time", hints=hints)
    >>> model = Model(name="delay", predictions="asked", entity_type="flight", features=("dep_time",))
    >>> order = {"prediction": (Precedes(before="departure", min_us=7_200_000_000),)}
    >>> features, models = {"dep_time": late}, {"delay": model}
    >>> (found,) = judge(Definitions(run=Run(), sources={}, features=features, models=models, order=order))
    >>> found.design.value, found.slack_us
    ('NEVER_KNOWABLE', -7200000000)
    >>> for reason in found.rulings[0].reasons: print(reason)
    dep_time becomes known with departure  ([feature.dep_time] anchor)
    prediction comes at least 2h before departure  ([order] prediction)
    so departure comes at least 2h after prediction
    """
    order = Order(definitions.order)
    return tuple(
        verdict
        for model in definitions.models.values()
        for verdict in _of_model(Question(definitions=definitions, order=order, model=model))
    )


def _of_model(question: Question) -> Iterator[DesignVerdict]:
    for name in question.model.features:
        yield of_feature(question, question.definitions.features[name])
    if question.model.hints.selection:
        yield _of_rows(question)


def of_feature(question: Question, feature: Feature) -> DesignVerdict:
    """The verdict on one feature, also one that the model does not read but its rows are chosen by."""
    rulings = [*mutable_by_label(question, feature), *derived_from_label(question, feature)]
    missing = []
    for item in ingredients(question.definitions, feature):
        for ruling in timing(question, item.feature, question.join_of(feature.name)):
            rulings.append(_after(item.reasons, ruling))
            if ruling.design is Design.UNDECLARED:
                missing.append(f"{'delay' if item.feature.hints.anchor else 'anchor'} of {item.feature.name}")
    return DesignVerdict(question.model.name, feature.name, _sorted(rulings), tuple(missing))


def _of_rows(question: Question) -> DesignVerdict:
    """Were the training rows chosen by something that was not known, or is not proved to have been?"""
    leaks: list[Ruling] = []
    missing: list[str] = []
    place = f"[model.{question.model.name}] selection"
    for name in question.model.hints.selection:
        chosen = Reason(f"training rows are chosen by {name}", place)
        for target in targets(question.definitions, name):
            bad, unknown = _chosen_by(question, target)
            leaks += [Ruling(Design.ROW_SELECTION_LEAK, (chosen, *reasons)) for reasons in bad]
            missing += unknown
    leaks = list(dict.fromkeys(leaks))  # a feature and its column are often one name
    if not leaks and missing:
        said = Reason(f"not declared, so not proved: {', '.join(missing)}")
        return DesignVerdict(question.model.name, "", (Ruling(Design.UNDECLARED, (said,)),), tuple(missing))
    fine = Ruling(Design.KNOWABLE, (Reason("the rows are chosen by what is known", place),))
    return DesignVerdict(question.model.name, "", tuple(leaks) or (fine,), tuple(missing))


def _chosen_by(question: Question, target: Target) -> tuple[list[tuple[Reason, ...]], list[str]]:
    """Proofs that a selected column came after the prediction, and names of what is not declared about it."""
    label = label_in_selection(question, target)
    if label is not None:
        return [(label,)], []
    features = question.definitions.features
    judged = [of_feature(question, features[n]) for n in _features_of(question.definitions, target)]
    bad = [v.rulings[0].reasons for v in judged if v.design.is_bad]
    unknown = [name for v in judged if v.design is Design.UNDECLARED for name in v.missing]
    return bad, unknown if judged else [f"anything of {target.source}.{target.column}".rstrip(".")]


def _features_of(definitions: Definitions, target: Target) -> list[str]:
    """The features that are what a target means: itself, or those that are the newest value of that column."""
    if target.feature:
        return [target.feature]
    found = (f for f in definitions.features_of(target.source) if target.column and f.column == target.column)
    return [f.name for f in found if f.aggregate is None]


def _after(reasons: tuple[Reason, ...], ruling: Ruling) -> Ruling:
    return Ruling(ruling.design, (*reasons, *ruling.reasons), ruling.slack_us, ruling.known)


def _sorted(rulings: Iterable[Ruling]) -> tuple[Ruling, ...]:
    """Bad ones, else what is undeclared, else the least slack: missing evidence is no reason to hope."""
    ranked = sorted(rulings, key=lambda r: (r.design.rank(), r.slack_us is None, r.slack_us or 0))
    bad = tuple(r for r in ranked if r.design.is_bad)
    return bad or tuple(ranked[:1])
