"""A signer, its keys, and one log in memory, for tests of the control stage."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tminus_client.rules import Held

from streams.control.log import Controller, Declared, Outgoing
from streams.control.records import Epoch, Receipt
from streams.signing import PublicKeys, Signer

SIGNER = Signer(bytes(range(32)))
STRANGER = Signer(bytes(32))
KEYS = PublicKeys({SIGNER.kid: SIGNER.public_key()})
DECLARED = {"model:a": Declared(), "model:b": Declared()}


@dataclass
class Log:
    """The control log: records by offset, compacted on demand."""

    records: dict[int, Outgoing] = field(default_factory=dict)
    end: int = 0

    def append(self, record: Outgoing) -> int:
        self.records[self.end] = record
        self.end += 1
        return self.end - 1

    def compact(self, tombstones_from: int) -> None:
        """Keep the newest record of each key, as Kafka's log cleaner does, and tombstones from an offset on.

        Kafka keeps them for a day (`delete.retention.ms`), so that every reader that lives can have seen them.
        """
        newest = {record.key: offset for offset, record in self.records.items()}
        self.records = {
            offset: record
            for offset, record in self.records.items()
            if newest[record.key] == offset and (offset >= tombstones_from or record.value is not None)
        }


@dataclass
class Operated:
    """A controller and how far it has read."""

    controller: Controller
    log: Log
    read: int = 0
    claims: int = 0
    name: str = "c"

    def follow(self) -> None:
        for offset in [o for o in self.log.records if o >= self.read]:
            self.controller.observe(offset, *self.log.records[offset])
        self.read = self.log.end

    def claim(self) -> None:
        """Claim until in command or superseded, then assert everything."""
        while self.controller.must_claim:
            self.claims += 1
            claim = self.controller.claim(self.log.end, f"{self.name}-{self.claims}", now_us=1)
            self.controller.claimed(self.log.append(claim), claim)
            self.follow()
        if not self.controller.is_superseded:
            self.write(self.controller.assert_all(now_us=1))

    def settle(self) -> None:
        """What a tick does: read, claim again if needed, assert what was disturbed."""
        self.follow()
        if self.controller.must_claim:
            self.claim()
        if not self.controller.is_superseded:
            self.write(self.controller.assert_disturbed(now_us=1))

    def write(self, records: list[Outgoing]) -> None:
        for record in records:
            self.controller.wrote(record, self.log.append(record))


def operate(
    log: Log, name: str = "c", declared: dict[str, Declared] = DECLARED, receipts: Iterable[Receipt] = ()
) -> Operated:
    """A controller that has read the log and the receipts, and has claimed."""
    operated = Operated(Controller("test", declared, SIGNER, KEYS), log, name=name)
    operated.follow()
    for receipt in receipts:
        operated.controller.observe_receipt(receipt)
    operated.claim()
    return operated


def receipt_of(held: Held) -> Receipt:
    """What a node that holds this would send."""
    said = held.command
    return Receipt("n1", said.scope, Epoch(*said.epoch), said.seq, said.mode, 1, 1, held.value, held.sig, held.kid)
