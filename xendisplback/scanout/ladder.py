# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way a guest's memory takes to the screen, what refused the better ways, and what was learnt of it.

Decisions only, no I/O. The rules:

1. The steps that a memory offers are tried from the top until one has shown a frame; copying is the last.
2. What is known beforehand is not tried: the configuration, a driver without PRIME import, and controllers that
   would show wrong memory without an error.
3. A refusal is looked up in ``_RULES`` by call and errno. The rule says what it means, and how far it reaches:
   every export, this step for this shape of buffer, every export or this step for this picture (buffer, layout,
   crop and mode), or every export or this step of just this one buffer.
4. What was learnt belongs to one guest's connection and one opened card. It is not shared: whether an import
   succeeds depends on where the guest's pages lie, and no guest may spoil another one's way.
5. An error that tells nothing about a way (the card is gone, the guest is paged out) ends the climb.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from errno import (
    EACCES,
    EBUSY,
    EINVAL,
    ENODEV,
    ENOMEM,
    ENOSYS,
    ENOTTY,
    EOPNOTSUPP,
    ETIMEDOUT,
    errorcode,
)
from typing import Final, Literal, TypeVar

from xendisplback.errors import GONE, HostError
from xendisplback.host import ExportKind

ZeroCopy = Literal["auto", "never", "require"]
Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_LEARNT: Final = 128
"""Refusals kept for one guest and card: a guest can invent shapes without end."""

EXPORT: Final = "xengnttab_dmabuf_exp_from_refs"
IMPORT: Final = "drmPrimeFDToHandle"
ADD_FRAMEBUFFER: Final = "drmModeAddFB2"
PLANE_FORMATS: Final = "drmModeGetPlane"
COMMIT: Final = "DRM_IOCTL_MODE_ATOMIC"
SCALED_COMMIT: Final = "DRM_IOCTL_MODE_ATOMIC with scaling"


class Step(Enum):
    """A way from a guest's memory to the screen. The value is what the operator reads."""

    PLAIN = "plain export"
    WRITE_COMBINED = "write-combined export"
    COHERENT = "coherent export"
    CARD = "card's memory"
    COPY = "copy"


EXPORTS: Final = {
    Step.PLAIN: ExportKind.PLAIN,
    Step.WRITE_COMBINED: ExportKind.WRITE_COMBINED,
    Step.COHERENT: ExportKind.COHERENT,
}


@dataclass(frozen=True, slots=True, eq=False)
class CardFacts:
    """What decides on one opened card. Compared by identity: a card that comes back starts anew."""

    driver: str
    can_import: bool
    scans_first_address: bool
    pv: bool
    direct_mapped: bool
    zero_copy: ZeroCopy
    """By the configuration, as is ``iommu``."""
    iommu: bool
    """The operator's word that an IOMMU maps the domain's physical addresses for this card."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """``call`` and ``errno`` are None where nothing was called."""

    step: Step
    call: str | None
    errno: int | None
    meaning: str

    @property
    def reason(self) -> str:
        if self.call is None:
            return self.meaning
        number = f" {errorcode.get(self.errno, self.errno)}" if self.errno else ""
        return f"{self.call}{number}: {self.meaning}"


def explain(refusals: Sequence[Refusal]) -> str:
    """One text for the operator; steps that were refused for the same reason are named together."""
    steps: dict[str, list[str]] = {}
    for refusal in refusals:
        steps.setdefault(refusal.reason, []).append(refusal.step.value)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in steps.items())


@dataclass(frozen=True, slots=True)
class Way:
    """How a buffer is shown, and why not in a better way."""

    step: Step
    refusals: tuple[Refusal, ...]

    @property
    def how(self) -> str:
        """For the operator."""
        how = "by copy" if self.step is Step.COPY else f"zero copy by {self.step.value}"
        return f"{how} ({explain(self.refusals)})" if self.refusals else how


class NothingLeft(HostError):
    """``zero-copy = "require"``, and every step was refused."""


class _Reach(Enum):
    EXPORTS = auto()
    BUFFER = auto()
    EXPORTS_OF_PICTURE = auto()
    PICTURE = auto()
    EXPORTS_ONCE = auto()
    ONCE = auto()


@dataclass(frozen=True, slots=True)
class _Rule:
    """``errno`` None: any other; ``pv`` None: in any domain."""

    call: str
    errno: int | None
    pv: bool | None
    reach: _Reach
    meaning: str


BUDGET: Final = "[budget]"
"""In the place of a call: an export would be over the operator's limits."""

_RULES: Final = (
    _Rule(BUDGET, None, None, _Reach.ONCE, "too much memory is exported already"),
    _Rule(EXPORT, ENOTTY, True, _Reach.EXPORTS, "a PV domain cannot export, and its kernel has no"
          " CONFIG_XEN_GNTDEV_DMABUF"),
    _Rule(EXPORT, ENOTTY, False, _Reach.EXPORTS, "kernel without CONFIG_XEN_GNTDEV_DMABUF"),
    _Rule(EXPORT, EINVAL, True, _Reach.EXPORTS, "a PV domain cannot export"),
    _Rule(EXPORT, EINVAL, False, _Reach.EXPORTS_ONCE, "a grant reference is not valid"),
    _Rule(EXPORT, ENOMEM, None, _Reach.BUFFER, "no contiguous memory left (CMA)"),
    _Rule(EXPORT, None, None, _Reach.BUFFER, "the kernel does not export these pages"),
    _Rule(IMPORT, EINVAL, None, _Reach.BUFFER, "the controller wants contiguous memory"),
    _Rule(IMPORT, ENOMEM, None, _Reach.BUFFER, "not DMA-mappable as one piece (swiotlb)"),
    _Rule(IMPORT, ENODEV, None, _Reach.BUFFER, "the driver takes no memory of others"),
    _Rule(IMPORT, ENOSYS, None, _Reach.BUFFER, "the driver has no PRIME import"),
    _Rule(IMPORT, EOPNOTSUPP, None, _Reach.BUFFER, "the driver has no PRIME import"),
    _Rule(IMPORT, None, None, _Reach.BUFFER, "the driver does not take this memory"),
    _Rule(PLANE_FORMATS, None, None, _Reach.EXPORTS_OF_PICTURE, "the plane does not take the format"),
    _Rule(ADD_FRAMEBUFFER, EINVAL, None, _Reach.EXPORTS_OF_PICTURE,
          "pitch, format or size not for this controller"),
    _Rule(ADD_FRAMEBUFFER, None, None, _Reach.EXPORTS_OF_PICTURE,
          "the driver makes no framebuffer of it"),
    _Rule(SCALED_COMMIT, None, None, _Reach.PICTURE,
          "the plane does not scale, or not this memory"),
    _Rule(COMMIT, EBUSY, None, _Reach.ONCE, "the controller was busy"),
    _Rule(COMMIT, None, None, _Reach.PICTURE, "the controller does not show this memory"),
)  # fmt: skip
"""The first that fits; an error without one ends the climb."""

NOT_REFUSED: Final = GONE | {EACCES, EBUSY}
"""What a commit says on a card that is unplugged, not ours any more, or busy."""


class Ladder:
    """One guest connection's ways on one card, and what was learnt about them."""

    def __init__(self, facts: CardFacts) -> None:
        self._facts = facts
        self._no_exports: Refusal | None = None
        self._learnt: dict[tuple[Step, Hashable], Refusal] = {}
        self._pictures: dict[Hashable, Hashable] = {}
        """The last picture by buffer shape: what a new buffer of that shape is likely for."""

    @property
    def learnt(self) -> int:
        """How many refusals are remembered."""
        return len(self._learnt)

    def climb(
        self,
        offered: Sequence[Step],
        buffer: Hashable,
        picture: Hashable | None = None,
        refused: Sequence[Refusal] = (),
    ) -> Climb:
        """Begin with the best step that is not known to fail; ``refused``: what the memory was refused before.

        ``buffer`` stands for a shape of buffers, ``picture`` for a shape of pictures in them; without it, for what
        the last buffer of that shape showed. Raises NothingLeft.
        """
        if picture is None:
            picture = self._pictures.get(buffer)
        else:
            _bounded(self._pictures)[buffer] = picture
        return Climb(self, offered, buffer, picture, refused)

    def known(self, step: Step, buffer: Hashable, picture: Hashable) -> Refusal | None:
        """Why ``step`` need not be tried."""
        return (
            self._beforehand(step)
            or (self._no_exports if step in EXPORTS else None)
            or self._learnt.get((step, buffer))
            or self._learnt.get((step, (buffer, picture)))
        )

    def _beforehand(self, step: Step) -> Refusal | None:
        facts = self._facts
        meaning, call = None, None
        if step is Step.COPY:
            if facts.zero_copy == "require":
                meaning = 'zero-copy = "require"'
        elif facts.zero_copy == "never":
            meaning = 'zero-copy = "never"'
        elif not facts.can_import:
            meaning, call = f"{facts.driver} imports no dma-bufs", "drmGetCap"
        elif facts.scans_first_address and step in EXPORTS:
            if facts.direct_mapped and not facts.iommu:
                meaning = (
                    f"{facts.driver} would show wrong memory without an error: it scans on from the first"
                    " address, and guests' pages are not contiguous in machine memory (iommu = true says"
                    " that an IOMMU maps them)"
                )
            elif step is Step.PLAIN:
                # Only a WC or coherent export is contiguous in the addresses that an IOMMU sees.
                meaning = f"{facts.driver} scans on from the first address: only contiguous exports"
        return None if meaning is None else Refusal(step, call, None, meaning)

    def learn(self, refusal: Refusal, reach: _Reach, buffer: Hashable, picture: Hashable) -> None:
        step = refusal.step
        if reach is _Reach.EXPORTS:
            self._no_exports = refusal
        elif reach is _Reach.BUFFER:
            _bounded(self._learnt)[step, buffer] = refusal
        elif reach in (_Reach.PICTURE, _Reach.EXPORTS_OF_PICTURE):
            alike = EXPORTS if reach is _Reach.EXPORTS_OF_PICTURE and step in EXPORTS else (step,)
            for each in alike:
                _bounded(self._learnt)[each, (buffer, picture)] = refusal

    def rule(self, error: HostError) -> _Rule:
        """Raises ``error`` where it says nothing about a way."""
        if error.errno == ETIMEDOUT or (
            error.call == COMMIT and error.errno in NOT_REFUSED - {EBUSY}
        ):
            raise error
        for rule in _RULES:
            if (
                rule.call == error.call
                and rule.errno in (None, error.errno)
                and rule.pv in (None, self._facts.pv)
            ):
                return rule
        raise error


class Climb:
    """One buffer on its way up; ``step`` is to be tried now, ``refusals`` say what was not better."""

    def __init__(
        self,
        ladder: Ladder,
        offered: Sequence[Step],
        buffer: Hashable,
        picture: Hashable,
        refused: Sequence[Refusal],
    ) -> None:
        self._ladder = ladder
        self._rest = list(offered)
        self._buffer = buffer
        self._picture = picture
        self.refusals = list(refused)
        self.step = self._next()

    def refuse(self, error: HostError) -> None:
        """``step`` failed with ``error``; go on with the next.

        Raises ``error`` where it is not a refusal or nothing is left, NothingLeft where only copying is.
        """
        if self.step is Step.COPY:
            raise error
        rule = self._ladder.rule(error)
        refusal = Refusal(self.step, error.call, error.errno, rule.meaning)
        self._ladder.learn(refusal, rule.reach, self._buffer, self._picture)
        self.refusals.append(refusal)
        if rule.reach is _Reach.EXPORTS_ONCE:
            self._rest = [step for step in self._rest if step not in EXPORTS]
        self.step = self._next()

    @property
    def way(self) -> Way:
        """What it is if ``step`` succeeds."""
        return Way(self.step, tuple(self.refusals))

    def _next(self) -> Step:
        while self._rest:
            step = self._rest.pop(0)
            refusal = self._ladder.known(step, self._buffer, self._picture)
            if refusal is None:
                return step
            self.refusals.append(Refusal(step, refusal.call, refusal.errno, refusal.meaning))
        numbers = [refusal.errno for refusal in self.refusals if refusal.errno]
        raise NothingLeft(
            f"no way to the screen is left: {explain(self.refusals)}",
            errno=numbers[-1] if numbers else EOPNOTSUPP,
        )


def _bounded(learnt: dict[Key, Value]) -> dict[Key, Value]:
    """Forget the oldest before one more comes in."""
    if len(learnt) >= MAX_LEARNT:
        del learnt[next(iter(learnt))]
    return learnt
