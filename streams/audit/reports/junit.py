"""How does a continuous build show an audit? One test case per feature, as readers of JUnit XML know it.

A case fails exactly where the exit status of the command would be 1. A feature of which nothing could be verified is
skipped where it does not fail: a green tick would say that it was checked.
"""

import xml.etree.ElementTree as ET

from monitors.audit.outcome import FeatureOutcome, Outcome, TableFinding
from monitors.verdicts import Verdict
from streams.audit.reports import wording


def render(outcome: Outcome, fail_on: str) -> str:
    """JUnit XML of the outcome, features in its order.

    Parameters
    ----------
    fail_on
        ``"leak"``: a feature with a LEAK fails; ``"unverifiable"``: one with anything but PASS and STALE;
        ``"never"``: none.
    """
    suites = ET.Element("testsuites", name="tminus audit")
    suite = ET.SubElement(suites, "testsuite", name=f"tminus audit {wording.clean(outcome.train, 200)}")
    _properties(suite, outcome)
    cases = [_case(suite, outcome, feature, fail_on) for feature in outcome.features.values()]
    totals = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": "0",
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": "0",
    }
    suite.attrib.update(totals)
    suites.attrib.update(totals)
    _out(suite, [wording.headline(outcome), *(_told(one) for one in wording.loudest(outcome.findings))])
    ET.indent(suites)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suites, encoding="unicode")}\n'


def failing(feature: FeatureOutcome, fail_on: str) -> int:
    """Number of cells of the feature for which the command's exit status is 1.

    Raises
    ------
    ValueError
        `fail_on` is not one of its three words.
    """
    if fail_on == "never":
        return 0
    if fail_on == "leak":
        return feature.counts[Verdict.LEAK]
    if fail_on != "unverifiable":
        raise ValueError(f"expected 'leak', 'unverifiable' or 'never', found {fail_on!r}")
    return sum(n for verdict, n in feature.counts.items() if verdict not in (Verdict.PASS, Verdict.STALE))


def _properties(suite: ET.Element, outcome: Outcome) -> None:
    """What the verdicts rest on; assumptions before anything else."""
    listed = ET.SubElement(suite, "properties")
    said = [("assumes", text) for text in outcome.assumes]
    said += [("log", path) for path in outcome.logs]
    for name, value in [*said, *outcome.rests_on]:
        ET.SubElement(listed, "property", name=wording.clean(name, 200), value=wording.clean(value, 500))


def _case(suite: ET.Element, outcome: Outcome, feature: FeatureOutcome, fail_on: str) -> ET.Element:
    # GitLab and Jenkins tell cases apart by class and name, so a name is cut only where nobody could read it.
    file = wording.clean(outcome.train, 500)
    case = ET.SubElement(
        suite, "testcase", classname="tminus.audit", name=wording.clean(feature.name, 500), file=file, time="0"
    )
    said = _said(outcome, feature)
    if number := failing(feature, fail_on):
        if feature.verdict is Verdict.STALE:  # which does not fail: others do
            said = [f"{number:,} rows without a plain verdict", *said]
        one = ET.SubElement(case, "failure", message=said[0], type=feature.verdict.value)
        one.text = "\n".join(said)
    elif feature.counts[Verdict.UNVERIFIABLE] == wording.rows_of(feature) > 0:
        ET.SubElement(case, "skipped", message=said[0])
    elif feature.verdict is not Verdict.PASS:
        _out(case, said)
    return case


def _said(outcome: Outcome, feature: FeatureOutcome) -> list[str]:
    """What a person needs, the shortest first: the message of a failure is often all that is shown."""
    cells, judged = feature.counts[feature.verdict], wording.rows_of(feature)
    late = wording.too_late(feature) if feature.verdict is Verdict.LEAK else ""
    said = [
        f"{feature.verdict.value}: {cells:,} of {wording.count(judged, 'row')} "
        f"({wording.share(cells / max(judged, 1))}){', ' + late if late else ''}",
        f"The value {wording.MEANS[feature.verdict]}.",
        f"Evidence {feature.tier.name}: {wording.RESTS_ON[feature.tier]}.",
        *(f"Assumed: {wording.assumption(text)}" for text in outcome.assumes),
    ]
    if feature.example is not None:
        said.append(f"Row counted from 0, without the header. {wording.story(feature.example)}")
    others = [f"{n:,} {verdict.value}" for verdict, n in feature.counts.items() if n and verdict is not feature.verdict]
    said.append(f"Other rows: {', '.join(others) or 'none'}.")
    what = wording.advice(feature)
    return [*said, f"To do: {what}"] if what else said


def _told(finding: TableFinding) -> str:
    kind, text = wording.clean(finding.kind, 60), f"{wording.clean(finding.message)} {wording.clean(finding.advice)}"
    return f"{finding.severity.value} {kind}: {text.strip()}"


def _out(parent: ET.Element, lines: list[str]) -> None:
    ET.SubElement(parent, "system-out").text = "\n".join(lines)
