"""Debian changelogs: which version of a package was the newest at a given moment, if only its author's clock tells?

Every Debian package carries its history: each revision with version, target, urgency, what it mends, and the moment
at which its author signed it off. Some go back to the nineties. Nobody in there says when the archive took the
revision in, so when others could read it: a time of writing without a time of visibility.
Joined naively, a package has on the first of each month what its newest entry by stamp says; asked is whether a
security fix follows within 90 days. Run it with `python -m benchmarks.public.changelogs` (needs apt-get, and a
Debian whose package lists are there).
"""

import hashlib
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from benchmarks.public import packages

#: Source packages that had security fixes, whose packaging is separate from the sources and older than 2005.
# fmt: off
NAMES = (
    "apache2", "bash", "bind9", "cups", "curl", "dovecot", "expat", "freetype", "ghostscript", "git", "glibc",
    "gnutls28", "imagemagick", "krb5", "libpng1.6", "libxml2", "mutt", "nginx", "openldap", "openssh", "openssl",
    "perl", "postfix", "qemu", "rsync", "samba", "sqlite3", "squid", "sudo", "systemd", "tiff", "vim", "wireshark",
    "wpa", "xz-utils", "zlib",
)
# fmt: on
#: Changelogs grow at the top only. What is older than this stays as it is, whatever revision the archive has today.
UNTIL = datetime(2023, 1, 1, tzinfo=UTC)
#: sha256 of the entries before UNTIL, packages in the order of NAMES: the pinned content.
CONTENT = "98f94413c05cb9f4ffb0abdc4aafd162a5a01ea0cb4f1793884323e475e11ea5"
FEATURES = ("revision", "target", "urgency", "signer_domain", "cves_fixed")
#: What is asked of whom: the order in the file taken for the order of writes; stamps alone; no assumption; a witness.
RUNS = (
    ("the order of the entries is the order of writes", "log.parquet", ()),
    ("the stamps are the order of writes", "by_stamp.parquet", ()),
    ("nobody saw them become readable", "by_stamp.parquet", ("--visible-time", "none")),
    ("the next author saw them", "by_stamp.parquet", ("--visible-time", "seen_time")),
)
_ENTRY = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9+.-]*) \((?P<version>[^)]+)\) (?P<target>[^;]+);(?P<rest>[^\n]*)\n(?P<text>.*?)"
    r"^ -- [^\n<]*<(?P<address>[^>\n]*)> +(?P<stamp>[^\n]+)$",
    re.MULTILINE | re.DOTALL,
)


def from_debian(folder: Path) -> dict[str, str]:
    """The changelogs of NAMES, with the machine's own list of archives, in folders of our own."""
    for name in ("parts", "lists/partial", "cache/archives/partial", "out"):
        (folder / name).mkdir(parents=True)
    stanzas = [s for p in Path("/etc/apt/sources.list.d").glob("*.sources") for s in p.read_text().split("\n\n")]
    # The archive proper: it holds the security fixes as well, from the next point release on.
    proper = [s for s in stanzas if re.search(r"^Signed-By:.*debian-archive-keyring", s, re.M) and "-security" not in s]
    if shutil.which("apt-get") is None or not proper:
        raise SystemExit("expected a Debian with apt-get and its archive in sources.list.d, found none")
    text = "\n\n".join(re.sub(r"(?m)^Types:.*$", "Types: deb-src", s) for s in proper)
    (folder / "parts" / "debian.sources").write_text(text + "\n", encoding="utf-8")
    places = {"Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": folder / "parts"}
    places |= {"Dir::State::lists": folder / "lists", "Dir::Cache": folder / "cache"}
    options = [f"-o{key}={place}" for key, place in places.items()] + ["-oAPT::Sandbox::User=root", "-qq"]
    subprocess.run(["apt-get", *options, "update"], check=True, stdout=subprocess.DEVNULL)
    call = ["apt-get", *options, "source", "--download-only", "--diff-only", *NAMES]
    subprocess.run(call, cwd=folder / "out", check=True, stdout=subprocess.DEVNULL)  # apt checks hash and signature
    return {name: _changelog(folder / "out", name) for name in NAMES}


def _changelog(folder: Path, name: str) -> str:
    (packed,) = folder.glob(f"{name}_*.debian.tar.*")
    with tarfile.open(packed) as archive:
        found = archive.extractfile("debian/changelog")
        assert found is not None
        return found.read().decode("utf-8", errors="replace")


def entries(name: str, text: str) -> Iterator[tuple[object, ...]]:
    """Revisions of one package, oldest first, as rows of LOG; the stamps are the authors'."""
    read = [(entry, stamp) for entry in _ENTRY.finditer(text) if (stamp := _signed(entry)) and stamp < UNTIL][::-1]
    fixed: set[str] = set()
    for seq, (entry, stamp) in enumerate(read):
        # Who writes the next entry has this one before him: the first other author is a witness that it could be read.
        seen = min(
            (at for other, at in read[seq + 1 :] if other["address"] != entry["address"] and at >= stamp), default=None
        )
        fixed |= set(re.findall(r"C(?:VE|AN)-\d{4}-\d{4,}", entry["text"]))
        urgency = re.search(r"urgency=(\w+)", entry["rest"])
        domain = entry["address"].rpartition("@")[2].lower()
        said = (entry["version"], entry["target"].strip(), urgency and urgency[1].lower(), domain, len(fixed))
        yield (name, seq, stamp, seen, *said)


def _signed(entry: re.Match[str]) -> datetime | None:
    try:
        return parsedate_to_datetime(entry["stamp"]).astimezone(UTC)
    except ValueError:
        return None  # a few hand-written dates of the nineties


def tables(log: pl.DataFrame) -> pl.DataFrame:
    """TRAIN: on the first of each month, the newest entry by stamp; label: a security fix in the next 90 days."""
    firsts = pl.datetime_range(datetime(2005, 1, 1), datetime(2022, 9, 1), "1mo", time_zone="UTC", eager=True)
    asked = log.select("entity").unique().sort("entity").join(firsts.alias("prediction_time").to_frame(), how="cross")
    joined = asked.sort("prediction_time").join_asof(
        log.sort("write_time"), left_on="prediction_time", right_on="write_time", by="entity", check_sortedness=False
    )
    fixes = log.filter(pl.col("cves_fixed") > pl.col("cves_fixed").shift(1).over("entity"))
    ahead = asked.sort("prediction_time").join_asof(
        fixes.sort("write_time").select("entity", next_fix="write_time"),
        left_on="prediction_time",
        right_on="next_fix",
        by="entity",
        strategy="forward",
        check_sortedness=False,
    )
    soon = (pl.col("next_fix") <= pl.col("prediction_time").dt.offset_by("90d")).fill_null(False)
    label = ahead.select("entity", "prediction_time", fix_soon=soon)
    rows = joined.drop_nulls("revision").join(label, on=["entity", "prediction_time"])
    return rows.select("entity", "prediction_time", *FEATURES, "fix_soon")


def story(folder: Path) -> None:
    found = from_debian(folder)
    rows = [row for name, text in found.items() for row in entries(name, text)]
    content = hashlib.sha256(repr(rows).encode()).hexdigest()
    if content != CONTENT:
        print(f"the entries before {UNTIL:%Y-%m-%d} are not those of the page: expected {CONTENT}, found {content}")
    log = pl.DataFrame(rows, ["entity", "seq", "write_time", "seen_time", *FEATURES], orient="row")
    pq.write_table(tables(log).to_arrow(), folder / "train.parquet")
    pq.write_table(log.to_arrow(), folder / "log.parquet")
    pq.write_table(log.drop("seq").to_arrow(), folder / "by_stamp.parquet")
    back = log.filter(pl.col("write_time") < pl.col("write_time").shift(1).over("entity"))
    print(f"{len(found)} packages, {log.height:,} entries, {back.height:,} stamped before the entry below them")
    for title, which, options in RUNS:
        print(f"-- {title}")
        packages.show(packages.audited(folder, *options, log=which))


if __name__ == "__main__":
    packages.run("Debian changelogs", story, [f"{len(NAMES)} source packages, entries before {UNTIL:%Y-%m-%d}"])
