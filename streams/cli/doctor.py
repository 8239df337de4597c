"""`tminus doctor`: is this installation sound, and does it reach what it needs?"""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import click

from streams.cli.errors import Exit
from streams.cli.options import bootstrap_option, config_option, json_option, lake_option, say_json

PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "numpy", "numba", "polars", "pyarrow", "duckdb")
OURS = ("streams", "monitors", "features", "tminus")
#: Clocks further apart than this make verdicts ambiguous: it is the default clock error.
SKEW_US_MAX = 1_000_000
_HEARTBEAT_WAIT_S = 2.5


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "bad", "unknown"]
    found: str


@click.command("doctor")
@config_option
@bootstrap_option
@lake_option
@click.option("--quick", is_flag=True, help="Packages and broker only, for health checks.")
@json_option
def command(config: tuple[Path, ...], bootstrap: str | None, lake: Path | None, quick: bool, as_json: bool) -> int:
    """Look at packages, versions, configuration, broker, clocks, lake and compiled kernels. Writes nothing.

    Exit status 3 without a broker, 1 if anything else is wrong.
    """
    checks = list(_checks(config, bootstrap, lake, quick))
    if as_json:
        say_json([dataclasses.asdict(check) for check in checks])
    else:
        for check in checks:
            click.echo(f"{check.verdict:<8} {check.name:<16} {check.found}")
    bad = {check.name for check in checks if check.verdict == "bad"}
    return Exit.NO_BROKER if "broker" in bad else Exit.FINDINGS if bad else Exit.FINE


def _checks(config: tuple[Path, ...], bootstrap: str | None, lake: Path | None, quick: bool) -> Iterable[Check]:
    from streams.settings import BOOTSTRAP, lake_folder, read_settings

    yield packages_check({name: str(__import__(name).__file__) for name in OURS})
    address, kafka, prefix = bootstrap or os.environ.get("TMINUS_BOOTSTRAP") or BOOTSTRAP, {}, "tminus."
    try:
        settings = read_settings(config, bootstrap=bootstrap, lake=lake)
        address, kafka, prefix = settings.bootstrap, settings.definitions.kafka, settings.definitions.run.prefix
        yield Check("configuration", "ok", f"{', '.join(map(str, settings.config))} ({settings.definitions.digest})")
    except ValueError as error:
        # Without a configuration the rest can still be looked at.
        is_absent = not config and not os.environ.get("TMINUS_CONFIG") and not Path("tminus.toml").exists()
        yield Check("configuration", "unknown" if is_absent else "bad", str(error).splitlines()[0])
    broker = _tried("broker", lambda: _broker(address, kafka, 2.0 if quick else 8.0))
    yield broker
    if quick:
        return
    yield _versions()
    yield _tried("clocks", lambda: _clocks(address, kafka, prefix) if broker.verdict == "ok" else _NO_BROKER)
    yield _tried("lake", lambda: _lake(lake_folder(lake)))
    yield _tried("kernels", _kernels)


_NO_BROKER = Check("clocks", "unknown", "no broker to ask")


def _tried(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except Exception as error:  # whatever it is, the other checks go on
        return Check(name, "bad", f"{error}" or type(error).__name__)


def packages_check(files: dict[str, str]) -> Check:
    """Are the loaded packages ours? A folder `features` of somebody else's would be loaded just as gladly.

    Examples
    --------
    >>> packages_check({"streams": "/a/streams/__init__.py", "features": "/b/features/__init__.py"}).verdict
    'bad'
    """
    paths = {name: Path(file).resolve() for name, file in files.items()}
    roots = {name: path.parents[path.name == "__init__.py"] for name, path in paths.items()}
    home = Path(__file__).resolve().parents[2]
    strange = [f"{name} from {root}" for name, root in roots.items() if root != home]
    if strange:
        return Check("packages", "bad", f"expected all of them in {home}, found {', '.join(strange)}")
    return Check("packages", "ok", f"{', '.join(files)} from {home}")


def _versions() -> Check:
    from importlib.metadata import PackageNotFoundError, version

    found, missing = [f"python {sys.version.split()[0]}"], []
    for name in ("tminus", *PACKAGES):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("versions", "bad", f"not installed: {', '.join(missing)}")
    return Check("versions", "ok", ", ".join(found))


def _broker(address: str, kafka: dict[str, str], timeout_s: float) -> Check:
    from streams.broker.admin import is_embedded, probe

    probe(address, timeout_s, settings=kafka)
    kind = "the embedded broker: for trials only" if is_embedded(address, settings=kafka) else "Kafka"
    return Check("broker", "ok", f"{address} answers, {kind}")


def _clocks(address: str, kafka: dict[str, str], prefix: str) -> Check:
    """The controller writes its time into every heartbeat: the newest one shows how far the clocks lie apart."""
    import json

    from confluent_kafka import OFFSET_END, Consumer, TopicPartition

    from streams.broker.admin import describe_topics
    from streams.clock import now_us

    topic = prefix + "heartbeat"
    if not describe_topics(address, [topic], settings=kafka):
        return Check("clocks", "unknown", f"no topic {topic}")
    consumer = Consumer(
        {**kafka, "bootstrap.servers": address, "group.id": "tminus-doctor", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_END)])
        message = consumer.poll(_HEARTBEAT_WAIT_S)
        value = None if message is None or message.error() else message.value()
        if value is None:
            return Check("clocks", "unknown", f"no heartbeat of a controller within {_HEARTBEAT_WAIT_S} s")
        skew_us = now_us() - json.loads(value)["time_us"]
    finally:
        consumer.close()
    verdict: Literal["ok", "bad"] = "ok" if abs(skew_us) < SKEW_US_MAX else "bad"
    return Check("clocks", verdict, f"the controller's clock is at most {abs(skew_us) / 1000:.1f} ms away")


def _lake(folder: Path) -> Check:
    from streams.lake.owners import Claim

    if not (folder / "_commits").is_dir():
        return Check("lake", "unknown", f"no lake in {folder}")
    owners = Claim(folder, "doctor", "").rivals()
    who = "; ".join(owner.name for owner in owners) or "nobody writes to it"
    return Check("lake", "ok", f"{folder}: {who}")


def _kernels() -> Check:
    """Kernels are compiled once and kept beside their source, or in NUMBA_CACHE_DIR."""
    home = Path(__file__).resolve().parents[2]
    own = os.environ.get("NUMBA_CACHE_DIR")
    folders = [Path(own)] if own else [home / room / "kernels" for room in ("features", "monitors")]
    closed = [str(f) for f in folders if not os.access(f, os.W_OK)]
    if closed:
        return Check("kernels", "bad", f"cannot keep compiled kernels in {', '.join(closed)}; set NUMBA_CACHE_DIR")
    kept = sum(1 for folder in folders for _ in folder.rglob("*.nbi"))
    return Check(
        "kernels", "ok", f"{kept} compiled kernels kept" if kept else "none compiled yet: the first start takes longer"
    )
