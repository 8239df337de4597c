"""How does a person sign a model off?

With a record on `findings`, in the partition of the model, signed with an operator's key. There it stands in one order
with the findings that it answers, needs no further topic, and the controller stays the only writer of commands. It
counts for the state that the operator could have seen: one issued before the model's present state began is refused,
so a release cannot be replayed against a later breach.
"""

import argparse
import sys
from pathlib import Path

from confluent_kafka import KafkaException, Producer

from streams import signing
from streams.clock import now_us
from streams.control import records
from streams.control.records import Release

_TIMEOUT_S = 10.0


def sign_release(release: Release, signer: signing.Signer) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Value and headers of the record."""
    value = records.encode(release)
    return value, signer.headers(signing.RELEASE_DOMAIN, value)


def send(bootstrap: str, release: Release, signer: signing.Signer, *, prefix: str = "tminus.") -> None:
    """Ask the controller to release a model; returns once the broker has the request.

    Raises
    ------
    ConnectionError
        The broker did not take it within 10 s.
    """
    value, headers = sign_release(release, signer)
    failed: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 0,
            "partitioner": "murmur2_random",
            "broker.address.family": "v4",
            "message.timeout.ms": int(_TIMEOUT_S * 1000),
            "log_level": 2,
        }
    )
    try:
        producer.produce(
            prefix + "findings",
            value,
            release.model.encode(),
            headers=list(headers),
            on_delivery=lambda error, _: failed.append(error) if error is not None else None,
        )
        left = producer.flush(_TIMEOUT_S)
    except KafkaException as error:
        raise ConnectionError(f"{bootstrap}: {error}") from None
    if left or failed:
        raise ConnectionError(f"{bootstrap} did not take the release within {_TIMEOUT_S:.0f} s")


def main(arguments: list[str] | None = None) -> int:
    """`python -m streams.control.release`: exit status 0 sent, 2 usage or key, 3 no broker."""
    parser = argparse.ArgumentParser(prog="python -m streams.control.release", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--prefix", default="tminus.")
    parser.add_argument("--environment", default="default")
    parser.add_argument("--key", type=Path, required=True, help="the operator's secret key")
    parser.add_argument("--who", required=True)
    parser.add_argument("--why", required=True)
    options = parser.parse_args(arguments)
    release = Release(options.environment, options.model, options.who, options.why, now_us())
    try:
        send(options.bootstrap, release, signing.load(options.key), prefix=options.prefix)
    except signing.KeyFileError as error:
        print(error, file=sys.stderr)
        return 2
    except ConnectionError as error:
        print(error, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
