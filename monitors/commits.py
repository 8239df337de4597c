"""Is a column of stamps, such as `updated_at`, the time from which a row could be read?

A database's ``now()`` is the start of the transaction: nobody could read the row before the commit. And a row that
keeps the stamp of an earlier one was written without a word about it.

How to call it: one `TransactionWatch` per LOG with such a column, whole entities at a time, without snapshot rows
(their stamps are old by nature). A missing time is `NEVER_US`.
"""

import numpy as np
import numpy.typing as npt

from features.times import FOREVER_US, NEVER_US
from monitors.audit.occurrences import Occurrences, about, rows_of
from monitors.audit.outcome import TableFinding
from monitors.kernels import grouping
from monitors.verdicts import Severity

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
Bool = npt.NDArray[np.bool_]

#: A stamp older than this before its commit is no start of a transaction: nobody keeps one open for a day.
TRANSACTION_US_MAX = 86_400_000_000

#: Transactions looked at to see whether their rows share one stamp: those with the smallest hashes.
TRANSACTIONS_SAMPLED = 4_096

_NONE = np.zeros(0, np.int64)


class TransactionWatch:
    """Does a column of stamps hold the start of the transaction, not its commit?

    Parameters
    ----------
    file, column
        The LOG and its column of stamps.

    Examples
    --------
    >>> watch = TransactionWatch("log.csv", "updated_at")
    >>> watch.observe(np.array([1], np.uint64), np.array([100]), np.array([4_000_100]), np.array([0]), slack_us=1)
    >>> [(f.kind, f.evidence["lead_us_max"]) for f in watch.findings()]
    [('STAMP_IS_TXN_START', 4000000)]
    """

    def __init__(self, file: str, column: str) -> None:
        self.file, self.column = file, column
        self._early, self._old = Occurrences(), Occurrences()
        self._lead_us = 0
        self._total = 0
        # txid hash, rows, least and greatest stamp of sampled transactions
        self._sample: tuple[UInt64, Int64, Int64, Int64] = (np.zeros(0, np.uint64), _NONE, _NONE, _NONE)

    def observe(
        self,
        entity: UInt64,
        stamp_us: Int64,
        write_us: Int64,
        row: Int64,
        *,
        slack_us: int,
        txid: UInt64 | None = None,
    ) -> None:
        """Take in all rows of some entities.

        Parameters
        ----------
        entity, stamp_us, write_us, row
            uint64[n] hashes, int64[n] stamps, commit times, row numbers.
        slack_us
            By how much stamp and commit may differ: clock error and resolution.
        txid
            uint64[n] hashes of transaction ids, 0 where there is none.
        """
        there = np.flatnonzero((stamp_us != NEVER_US) & (write_us != NEVER_US))
        entity, stamp_us, write_us, row = entity[there], stamp_us[there], write_us[there], row[there]
        self._total += row.size
        lead = write_us - stamp_us
        is_old = _is_carried(entity, stamp_us, write_us) | (lead > TRANSACTION_US_MAX)
        self._old.add(row, is_old & (lead > slack_us))
        early = ~is_old & (lead > slack_us)
        self._early.add(row, early)
        self._lead_us = max(self._lead_us, int(lead[early].max(initial=0)))
        if txid is not None:
            fresh = ~is_old & (txid[there] != 0)
            self._take(txid[there][fresh], stamp_us[fresh])

    def findings(self) -> tuple[TableFinding, ...]:
        """STAMP_IS_TXN_START where fresh stamps lie before their commit, STAMP_UNTOUCHED where rows keep an old one."""
        found = [self._started()] if self._early.count else []
        return (*found, *([self._untouched()] if self._old.count else []))

    def _take(self, txid: UInt64, stamp_us: Int64) -> None:
        if self._sample[0].size == TRANSACTIONS_SAMPLED:
            near = txid <= self._sample[0][-1]
            txid, stamp_us = txid[near], stamp_us[near]
        key = np.concatenate([self._sample[0], txid])
        if key.size == 0:
            return
        ones = np.ones(txid.size, np.int64)
        columns = [np.concatenate(pair) for pair in zip(self._sample[1:], (ones, stamp_us, stamp_us), strict=True)]
        order = np.argsort(key, kind="stable")
        key = key[order]
        begins = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        # The smallest hashes at the end were among the smallest all the time: their counts are complete.
        kept = slice(0, TRANSACTIONS_SAMPLED)
        n, low, high = (
            fold.reduceat(column[order], begins)[kept].astype(np.int64)
            for fold, column in zip((np.add, np.minimum, np.maximum), columns, strict=True)
        )
        self._sample = (key[begins][kept], n, low, high)

    def _started(self) -> TableFinding:
        _, n, low, high = self._sample
        several = n > 1
        sharing = int(np.count_nonzero(several & (low == high)))
        total = int(np.count_nonzero(several))
        shared = f"; rows of one transaction share it in {sharing:,} of {total:,} looked at" if total else ""
        return TableFinding(
            "STAMP_IS_TXN_START",
            Severity.WARNING,
            self.column,
            f"{rows_of(self._early.count, self._total)} of {self.file} carry a stamp in {self.column!r} from before "
            f"their commit, by up to {about(self._lead_us)} (first: row {self._early.first}), as the start of a "
            f"transaction does{shared}.",
            f"Do not use {self.column!r} as the time from which a row could be read: take commit times from the "
            "database's log.",
            {
                "file": self.file,
                "lead_us_max": self._lead_us,
                "transactions_sharing": sharing,
                "transactions_seen": total,
                **self._early.evidence(),
            },
        )

    def _untouched(self) -> TableFinding:
        return TableFinding(
            "STAMP_UNTOUCHED",
            Severity.INFO,
            self.column,
            f"{rows_of(self._old.count, self._total)} of {self.file} were written without a new {self.column!r} "
            f"(first: row {self._old.first}): whoever selects rows by it misses these changes.",
            "Nothing rests on it here; elsewhere, select changes by commit time.",
            {"file": self.file, **self._old.evidence()},
        )


def _is_carried(entity: UInt64, stamp_us: Int64, write_us: Int64) -> Bool:
    """bool[n]: whether the entity had this stamp already in a row written before."""
    both, keys, _ = grouping.number_keys(entity + stamp_us.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    first = np.full(keys.size, FOREVER_US)
    np.minimum.at(first, both, write_us)
    found: Bool = write_us > first[both]
    return found
