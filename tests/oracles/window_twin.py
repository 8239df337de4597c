"""Sliding windows the slow way: every applied row is kept, every value is computed from all of them, time moves every
window at once. Imports nothing of ours."""

from dataclasses import dataclass, field


@dataclass
class Window:
    """One window feature. `where` and `value` are functions of a row (a dict)."""

    name: str
    aggregate: str
    pane_us: int
    panes: int
    where: object = None
    value: object = None  # None: count rows


@dataclass
class _Held:
    """One entity's window."""

    end: int
    home: str
    rows: list = field(default_factory=list)  # (event time, value), in order of application
    present: float | None = None
    is_told: bool = False


@dataclass
class Twin:
    """Feed rows one by one; `versions` and `late` grow."""

    features: list
    lateness_us: int
    columns: tuple = ()  # names of payload columns whose newest value is a feature
    versions: list = field(default_factory=list)
    late: list = field(default_factory=list)

    def __post_init__(self):
        self.marks = {}
        self.held = [{} for _ in self.features]
        self.order = []
        self.newest = {}

    def on_row(self, row, log):
        """A row: offset, entity, event_time_us, op and payload."""
        entity, time_us = row["entity"], row["event_time_us"]
        if entity not in self.order:
            self.order.append(entity)
        before = self.marks.get(log)
        shown = -(2**63) if before is None else before
        is_behind = before is not None and time_us < before
        after = time_us - self.lateness_us if before is None else max(before, time_us - self.lateness_us)
        self.marks[log] = after

        wanted = [not is_behind and (f.where is None or f.where(row) is True) for f in self.features]
        applied = list(wanted)
        for i, feature in enumerate(self.features):
            now = after // feature.pane_us
            for other in self.order:
                held = self.held[i].get(other)
                if held is None:
                    continue
                if other == entity:
                    # Decide whether the row is applied once time has moved the window, from whichever log.
                    end = max(held.end, now)
                    applied[i] = wanted[i] and time_us // feature.pane_us > end - feature.panes
                if held.home == log and now > held.end:
                    held.end = now
                    if not (other == entity and applied[i]):
                        self._tell(i, other, row, now * feature.pane_us, by_time=True)
        for i, feature in enumerate(self.features):
            if not applied[i]:
                continue
            pane = time_us // feature.pane_us
            now = after // feature.pane_us
            held = self.held[i].setdefault(entity, _Held(max(pane, now), log))
            held.end = max(held.end, pane, now)
            held.home = log
            held.rows.append((time_us, 0.0 if feature.value is None else feature.value(row)))
            self._tell(i, entity, row, time_us, by_time=False)
        for name in self.columns:
            value = None if row["op"] == "d" else row[name]
            kind = "bool" if isinstance(value, bool) else "other"  # in Python, True equals 1
            if self.newest.get((name, entity)) != (kind, value):
                self.newest[name, entity] = (kind, value)
                self.versions.append((row["offset"], False, name, entity, value, time_us, time_us, None))
        if self.features and not self.columns:
            if is_behind:
                self.late.append((row["offset"], "behind_watermark", shown))
            elif any(wanted) and not any(applied):
                self.late.append((row["offset"], "outside_window", shown))

    def _tell(self, i, entity, row, time_us, *, by_time):
        feature, held = self.features[i], self.held[i][entity]
        inside = [(t, v) for t, v in held.rows if held.end - feature.panes < t // feature.pane_us <= held.end]
        inside = [(t, v) for t, v in inside if v is not None]
        value = self._value(feature, held.end, inside)
        if value == held.present:
            return
        held.present = value
        newest = max((t for t, _ in inside), default=row["event_time_us"])
        window_end = (held.end + 1) * feature.pane_us
        self.versions.append((row["offset"], by_time, feature.name, entity, value, time_us, newest, window_end))

    @staticmethod
    def _value(feature, end, inside):
        if feature.aggregate == "count":
            return float(len(inside))
        if feature.aggregate == "sum" and not inside:
            return 0.0
        if not inside:
            return None
        if feature.aggregate == "last":
            best = 0
            for j, (t, _) in enumerate(inside):
                if t >= inside[best][0]:
                    best = j
            return inside[best][1]
        if feature.aggregate in ("min", "max"):
            return {"min": min, "max": max}[feature.aggregate](v for _, v in inside)
        total = 0.0
        for pane in range(end - feature.panes + 1, end + 1):
            subtotal = 0.0
            for t, v in inside:
                if t // feature.pane_us == pane:
                    subtotal += v
            total += subtotal
        return total if feature.aggregate == "sum" else total / len(inside)
