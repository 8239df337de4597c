"""Time zones: does the local time of an appointment use a rule that nobody had when it was booked?

The time zone database, in every release that the package `tzdata` carried since 2020. Governments change the rules,
sometimes weeks ahead, sometimes after the fact; Lebanon in 2023 took a change back within days. Each release is a
write of all rules. When it was made public, the release notes say to the second; that somebody read it, the clock
of the packaging machine shows, in the archive members of the wheel.
Joined naively, appointments are all given the UTC offset that the newest release knows, also those booked long
before. Run it with `python -m benchmarks.public.zones`.
"""

import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow.parquet as pq

from benchmarks.public import packages

FIRST, LAST = date(2021, 1, 3), date(2026, 12, 27)  # Sundays: clocks change on them
LEADS = (7, 30, 90, 180)  # days between the booking and the appointment
FEATURES = ("utc_offset_min", "is_dst", "abbreviation")
#: The members of an archive are stamped in steps of two seconds.
_ARCHIVE_STEP = timedelta(seconds=2)

Said = tuple[int, bool, str]  # FEATURES
Newest = dict[tuple[str, date], tuple[Said, str]]  # by place and day; with the release that changed it last


@dataclass(frozen=True, slots=True)
class Release:
    """One wheel: its version, its rules, and between which moments the rules became readable."""

    version: str
    wheel: zipfile.ZipFile
    write_time: datetime
    visible_time: datetime


def published(notes: str) -> dict[str, datetime]:
    """When each release of the database was made, from the notes of the package (`2023c` at 2023-03-28T19:42:14)."""
    found = re.findall(r"^Upstream version (\S+) released (\S+)$", notes, flags=re.MULTILINE)
    return {name: datetime.fromisoformat(at) for name, at in found}


def releases(folder: Path) -> Iterator[Release]:
    """All wheels of the lock, oldest first."""
    versions = packages.locked("tzdata")
    source = packages.from_pypi("tzdata", versions[-1], folder, source=True)
    with tarfile.open(source) as archive:
        notes = archive.extractfile(f"tzdata-{versions[-1]}/NEWS.md")
        assert notes is not None
        made = published(notes.read().decode("utf-8"))
    before = ""
    for version in versions:
        wheel = zipfile.ZipFile(packages.from_pypi("tzdata", version, folder))
        (name,) = re.findall(r'^IANA_VERSION = "(\S+)"$', wheel.read("tzdata/__init__.py").decode(), flags=re.MULTILINE)
        # 2020f never became a wheel: what 2021a shows first may be its doing, and was then readable since 2020f.
        since = min((at for release, at in made.items() if before < release <= name), default=made[name])
        packed = max(datetime(*member.date_time, tzinfo=UTC) for member in wheel.infolist())
        yield Release(version, wheel, since, packed + _ARCHIVE_STEP)
        before = name


def places(wheel: zipfile.ZipFile) -> list[str]:
    """Zones where people live, one or more a country: the table `zone.tab`, without the aliases kept for old files."""
    table = wheel.read("tzdata/zoneinfo/zone.tab").decode("utf-8").splitlines()
    return sorted(line.split("\t")[2] for line in table if line and not line.startswith("#"))


def at_noon(rules: bytes, place: str, days: list[date]) -> list[Said]:
    """What `rules` say of local noon of each day."""
    zone = ZoneInfo.from_file(BytesIO(rules), place)
    noons = [datetime(day.year, day.month, day.day, 12, tzinfo=zone) for day in days]
    minute, never = timedelta(minutes=1), timedelta()
    return [((t.utcoffset() or never) // minute, bool(t.dst()), t.tzname() or "") for t in noons]


def history(found: Iterator[Release], days: list[date]) -> tuple[list[tuple[object, ...]], Newest]:
    """LOG rows (what each release changed), and what the newest release says, with the release that said it first."""
    log: list[tuple[object, ...]] = []
    newest: Newest = {}
    read: dict[str, bytes] = {}
    everywhere: list[str] = []
    for release in found:
        everywhere = everywhere or places(release.wheel)
        for place in everywhere:
            rules = release.wheel.read(f"tzdata/zoneinfo/{place}")
            if read.get(place) == rules:
                continue
            read[place] = rules
            for day, said in zip(days, at_noon(rules, place, days), strict=True):
                before = newest.get((place, day))
                if before is None or before[0] != said:
                    # What the first release says, it did not invent: these rows were there before ("r").
                    op = "r" if before is None else "u"
                    log.append((f"{place} {day}", op, release.version, release.write_time, release.visible_time, *said))
                    newest[place, day] = (said, release.version)
    return log, newest


def tables(log: list[tuple[object, ...]], newest: Newest) -> tuple[pl.DataFrame, pl.DataFrame]:
    """TRAIN: every appointment, booked some days before, as the newest release tells it; and LOG."""
    booked = [
        (f"{place} {day}", datetime(day.year, day.month, day.day, 12, tzinfo=UTC) - timedelta(days=lead), *said, by)
        for (place, day), (said, by) in newest.items()
        for lead in LEADS
    ]
    train = pl.DataFrame(booked, ["entity", "prediction_time", *FEATURES, "release"], orient="row")
    columns = ["entity", "op", "version", "write_time", "visible_time", *FEATURES]
    return train, pl.DataFrame(log, columns, orient="row")


def story(folder: Path) -> None:
    days = [FIRST + timedelta(days=7 * week) for week in range((LAST - FIRST).days // 7 + 1)]
    found, newest = history(releases(folder), days)
    train, log = tables(found, newest)
    named = train.select(pl.all().exclude("release"), *[pl.col("release").alias(f"{f}__version") for f in FEATURES])
    pq.write_table(train.drop("release").to_arrow(), folder / "train.parquet")
    pq.write_table(named.to_arrow(), folder / "named.parquet")
    pq.write_table(log.to_arrow(), folder / "log.parquet")
    changed = log.filter(pl.col("op") == "u").height
    print(f"{train.height:,} bookings of {len(newest):,} appointments, {changed:,} later changes of an appointment")
    packages.show(packages.audited(folder, "--cells", "cells.parquet"))
    print("-- the rows say which release their values are from")
    packages.show(packages.audited(folder, rows="named.parquet"))
    print("-- where, by the first run")
    cells = pl.concat([train, pl.read_parquet(folder / "cells.parquet")], how="horizontal")
    verdict, place = pl.col("utc_offset_min__verdict"), pl.col("entity").str.split(" ").list.first().alias("place")
    where = (
        cells.filter(verdict != "PASS")
        .group_by(verdict, place)
        .agg(pl.len(), days=pl.col("utc_offset_min__lead_us").max() / 86_400_000_000)
    )
    for row in where.sort(verdict, "len", "place", descending=[False, True, False]).iter_rows():
        print(f"{row[0]:<16}{row[1]:<24}{row[2]:>6,}" + ("" if row[3] is None else f"  up to {row[3]:,.0f} d"))


if __name__ == "__main__":
    kept = packages.locked("tzdata")
    packages.run("time zones", story, [f"tzdata {kept[0]} to {kept[-1]} ({len(kept)} releases)"])
