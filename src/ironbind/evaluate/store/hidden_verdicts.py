"""A verdict store as if some samples had no verdict yet: what an evaluator then computes is seen and not kept."""

from collections.abc import Collection, Mapping
from typing import Any

from ironbind.evaluate.store.shared_store import SharedStore
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore


class HiddenVerdicts:
    """`store` without the verdicts of these samples under one audit key. New verdicts are dropped; everything else is
    forwarded.
    """

    def __init__(self, store: VerdictStore | SharedStore, key: str, samples: Collection[str]) -> None:
        self._store, self._key, self._samples = store, key, frozenset(samples)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def verdicts(self, key: str) -> dict[str, Verdict]:
        """As `VerdictStore.verdicts`."""
        verdicts = self._store.verdicts(key)
        if key != self._key:
            return verdicts
        return {sample: verdict for sample, verdict in verdicts.items() if sample not in self._samples}

    def add(self, key: str, description: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
        """Does nothing."""
