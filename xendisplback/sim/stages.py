# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a flip's time goes, from what the guest and the display saw of it."""

from __future__ import annotations

import bisect
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from xendisplback.sim.device import FlipRecord
from xendisplback.sim.guest_channel import FlipTimes


@dataclass(frozen=True, slots=True)
class Stages:
    """Medians in milliseconds."""

    answer: float
    """From the request to its response, which the guest's commit waits for."""
    commit: float
    """From the request to the commit: a copy, if there is one, is in it."""
    vblank: float
    """From the commit to the vblank that shows it: up to 16.7 at 60 Hz, and nothing of ours."""
    event: float
    """From the vblank to the guest's having its event."""

    def __str__(self) -> str:
        return (
            f"answer {self.answer:.2f} ms, commit {self.commit:.2f} ms,"
            f" wait for vblank {self.vblank:.1f} ms, event {self.event:.2f} ms"
        )


def stages(flips: Sequence[FlipTimes], records: Sequence[FlipRecord]) -> Stages | None:
    """None if there is no flip of which both sides are known."""
    committed = [record.committed_at for record in records]
    pairs: list[tuple[FlipTimes, FlipRecord]] = []
    for flip in flips:
        index = bisect.bisect_left(committed, flip.sent)
        if index < len(records) and records[index].shown_at <= flip.done:
            pairs.append((flip, records[index]))
    if not pairs:
        return None
    median = statistics.median
    return Stages(
        1e3 * median(flip.answered - flip.sent for flip, _ in pairs),
        1e3 * median(record.committed_at - flip.sent for flip, record in pairs),
        1e3 * median(record.shown_at - record.committed_at for _, record in pairs),
        1e3 * median(flip.done - record.shown_at for flip, record in pairs),
    )
