# SPDX-License-Identifier: GPL-2.0-or-later
"""Several guests on one CRTC: what one commit has, when it is made, and who is told of it."""

from __future__ import annotations

import ctypes
import errno
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from tests.commits import COMMIT_FUNCTION
from tests.copy.programs import OPTIMIZED, SANITIZED, build, output
from tests.flip.kit import CRTC, SECONDS, XR24, Connector, Page, no_wait, until
from tests.flip.programs import MIXES
from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.flips import FlipPart, FlipPath
from xendisplback.scanout.mix import Mix, MixPicture

WIDTH, HEIGHT = 24, 16
PITCH = 4 * WIDTH
EVERYWHERE = Rect(0, 0, WIDTH, HEIGHT)
SLOW = 0.1
"""Hz: whoever is waited for has ten seconds."""


@dataclass(frozen=True)
class Prepared:
    function: int
    argument: int

    def close(self) -> None:
        pass


class Screen:
    """A CRTC: its commits, two buffers, and its vblanks when the test says so."""

    def __init__(self, layers: int, refresh_rate: float, *, composed: bool = False) -> None:
        def submit(arguments: Sequence[int], count: int) -> int:
            self.commits.append([arguments[n] for n in range(count)])
            self.times.append(time.monotonic())
            self.instead()
            return -self.refuse

        self.kept: list[object] = []
        """What the mix may read."""
        self.commits: list[list[int]] = []
        self.times: list[float] = []
        self.refuse = 0
        self.instead: Callable[[], None] = lambda: None
        self._callback = COMMIT_FUNCTION(submit)
        self.function = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self.buffers = [Page(PITCH * HEIGHT), Page(PITCH * HEIGHT)]
        both = [self.prepared(100), self.prepared(101)] if composed else []
        self.mix = Mix(self.function, layers, refresh_rate, both)

    def prepared(self, argument: int) -> Prepared:
        return Prepared(self.function, argument)

    def plane(self, layer: int, argument: int) -> MixPicture:
        picture = MixPicture(self.mix, layer, EVERYWHERE, self.prepared(argument))
        self.kept.append(picture)
        return picture

    def composed(self, layer: int, place: Rect, picture: Page) -> MixPicture:
        at = place.y * PITCH + 4 * place.x
        pitch = 4 * place.width
        jobs = [
            CopyJob(picture.address, pitch, to.address + at, PITCH, *place.size, XR24, XR24)
            for to in self.buffers
        ]
        mixed = MixPicture(self.mix, layer, place, jobs=jobs)
        self.kept += [mixed, picture]
        return mixed

    def vblank(self) -> None:
        load_flip().lib.xdb_mix_on_flip_event(self.mix.handle, time.monotonic_ns())

    def committing(self, count: int) -> None:
        until(lambda: len(self.commits) == count, f"{count} commits: {self.commits}")

    def close(self) -> None:
        self.mix.close()


class Guest:
    """A connector whose framebuffers are in a mix: cookie 1 is the first."""

    def __init__(self, screen: Screen, layer: int, *pictures: MixPicture) -> None:
        self.mix, self.layer = screen.mix, layer
        self.connector = Connector(0)
        for cookie, picture in enumerate(pictures, 1):
            part = FlipPart([], [picture], None, refresh=False)
            path = FlipPath(cookie, [part])
            self.connector.paths.append(path)
            self.connector.flips.add(path)
        screen.mix.tell(layer, self.connector.flips)
        self.connector.start()

    def flip(self, cookie: int = 1) -> None:
        self.connector.flip(cookie)

    def flipping(self, cookie: int = 1) -> None:
        """Flip, and wait until the mix has it."""
        answered = len(self.connector.responses())
        self.connector.flip(cookie)
        self.connector.answered(answered + 1)
        no_wait()

    def shown(self, count: int) -> None:
        self.connector.shown(count)

    @property
    def events(self) -> int:
        return len(self.connector.flip_events())

    def close(self) -> None:
        self.mix.tell(self.layer, None)
        self.connector.close()


class Vblanks:
    """Vblanks of their own, as a card has them."""

    def __init__(self, screen: Screen, refresh_rate: float) -> None:
        self._screen, self._period = screen, 1 / refresh_rate
        self.count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        start = time.monotonic()
        while not self._end.wait(
            max(start + (self.count + 1) * self._period - time.monotonic(), 0)
        ):
            self.count += 1
            self._screen.vblank()

    def close(self) -> None:
        self._end.set()
        self._thread.join()


@pytest.fixture
def planes() -> Iterator[tuple[Screen, Guest, Guest]]:
    """Two guests, layers 0 and 1, whose commits are 10 and 20; who is waited for has ten seconds."""
    with closing(Screen(2, SLOW)) as screen:
        guests = [Guest(screen, layer, screen.plane(layer, 10 * layer + 10)) for layer in range(2)]
        with closing(guests[0]), closing(guests[1]):
            yield screen, guests[0], guests[1]


def test_the_only_one_who_flips_is_committed_at_once(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, guest, _ = planes
    for count in range(1, 4):
        guest.flip()
        screen.committing(count)
        screen.vblank()
        guest.shown(count)
    assert screen.commits == [[10]] * 3


def test_each_is_told_of_the_commit_that_had_its_frame(
    planes: tuple[Screen, Guest, Guest],
) -> None:
    screen, first, second = planes
    first.flip()
    screen.committing(1)
    second.flipping()
    assert len(screen.commits) == 1, "one commit is in flight at a time"
    screen.vblank()
    first.shown(1)
    no_wait()
    assert second.events == 0
    first.flip()
    screen.committing(2)
    screen.vblank()
    first.shown(2)
    second.shown(1)
    assert screen.commits == [[10], [10, 20]]


def test_who_was_on_time_lately_is_waited_for_and_the_last_one_starts_the_commit(
    planes: tuple[Screen, Guest, Guest],
) -> None:
    screen, first, second = planes
    for guest, count in ((first, 1), (second, 2)):
        guest.flipping()
        if count == 2:
            first.flip()
        screen.committing(count)
        screen.vblank()
    first.shown(2)
    second.shown(1)
    second.flipping()
    assert len(screen.commits) == 2
    first.flip()
    screen.committing(3)
    assert screen.commits[2] == [10, 20]


def test_the_wait_ends_before_the_vblank() -> None:
    with closing(Screen(2, 5)) as screen:
        first = Guest(screen, 0, screen.plane(0, 10))
        second = Guest(screen, 1, screen.plane(1, 20))
        with closing(first), closing(second):
            screen.mix.pause()
            first.flipping()
            second.flipping()
            screen.mix.resume()
            screen.committing(1)
            # Not at once, as a card without vblanks.
            time.sleep(0.01)
            vblank = time.monotonic()
            screen.vblank()
            first.flip()
            screen.committing(2)
            assert 0.08 < screen.times[1] - vblank < 0.3, "a busy machine may be late"
            assert screen.commits == [[10, 20], [10]]


def test_a_guest_that_did_not_flip_for_three_periods_is_not_waited_for() -> None:
    with closing(Screen(2, 5)) as screen:
        first = Guest(screen, 0, screen.plane(0, 10))
        second = Guest(screen, 1, screen.plane(1, 20))
        with closing(first), closing(second):
            second.flip()
            screen.committing(1)
            time.sleep(0.01)
            screen.vblank()
            # Right after a vblank, and the next one is 0.2 s away.
            time.sleep(0.62)
            flipped = time.monotonic()
            first.flip()
            screen.committing(2)
            assert screen.times[1] - flipped < 0.12


def _answer_events(guest: Guest, seconds: float, every: float) -> int:
    """Flip as soon as the frame before is shown; how many were."""
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        guest.flip()
        count += 1
        guest.connector.shown_since(count)
        time.sleep(every)
    return count


@pytest.mark.parametrize("slower", [0.0, 0.31])
def test_guests_share_commits_and_none_holds_up_another(slower: float) -> None:
    rate, seconds = 20.0, 2.0
    counts = [0, 0]
    with closing(Screen(2, rate)) as screen:
        guests = [Guest(screen, layer, screen.plane(layer, layer + 1)) for layer in range(2)]

        def run(layer: int, every: float) -> None:
            counts[layer] = _answer_events(guests[layer], seconds, every)

        with closing(guests[0]), closing(guests[1]), closing(Vblanks(screen, rate)):
            threads = [threading.Thread(target=run, args=(n, n * slower)) for n in range(2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        vblanks = seconds * rate
        assert counts[0] >= vblanks - 6
        if slower:
            assert 4 <= counts[1] <= seconds / slower + 1
        else:
            assert counts[1] >= vblanks - 6
            assert len(screen.commits) <= vblanks + 4, "each has both"


def test_events_that_come_with_the_commit(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, first, second = planes
    screen.instead = screen.vblank
    for count in range(1, 6):
        screen.mix.pause()
        first.flipping()
        second.flipping()
        screen.mix.resume()
        first.shown(count)
        second.shown(count)
    assert screen.commits == [[10, 20]] * 5


def test_the_cards_flip_events_go_to_the_mix(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, first, second = planes
    card = first.connector.card
    card.tell_mix(CRTC, screen.mix)
    screen.mix.pause()
    first.flipping()
    second.flipping()
    screen.mix.resume()
    screen.committing(1)
    first.connector.flip_event(CRTC + 1)
    no_wait()
    assert (first.events, second.events) == (0, 0)
    first.connector.flip_event()
    first.shown(1)
    second.shown(1)
    card.tell_mix(CRTC, None)


def test_while_it_is_paused_nothing_begins(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, first, second = planes
    first.flip()
    screen.committing(1)
    screen.mix.pause()
    assert not screen.mix.wait(0.02)
    screen.vblank()
    assert screen.mix.wait(SECONDS)
    second.flipping()
    assert len(screen.commits) == 1
    first.flip()
    screen.mix.resume()
    screen.committing(2)


def test_who_is_not_to_be_told_hears_nothing(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, first, _ = planes
    first.flip()
    screen.committing(1)
    screen.mix.tell(0, None)
    screen.vblank()
    no_wait()
    assert first.events == 0


async def test_a_refusal_ends_the_mix_and_nobody_is_told(
    planes: tuple[Screen, Guest, Guest],
) -> None:
    screen, first, second = planes
    screen.refuse = errno.EBUSY
    first.flip()
    with trio.fail_after(SECONDS):
        assert await screen.mix.refused() == errno.EBUSY
    assert screen.mix.wait(0)
    screen.vblank()
    second.flip()
    why, _, number = second.connector.handed()
    assert (why, number) == (load_flip().lib.XDB_REFUSED, errno.EBUSY)
    assert (first.events, second.events, len(screen.commits)) == (0, 0, 1)


def test_there_is_a_limit_of_layers() -> None:
    with closing(Screen(1, SLOW)) as screen, pytest.raises(HostError) as caught:
        Mix(screen.function, load_flip().lib.XDB_LAYERS + 1, 60)
    assert caught.value.errno == errno.EINVAL


def test_removal_waits_for_a_commit_that_may_read_the_layer() -> None:
    with closing(Screen(1, SLOW, composed=True)) as screen:
        entered, go_on = threading.Event(), threading.Event()

        def block() -> None:
            entered.set()
            assert go_on.wait(SECONDS)

        screen.instead = block
        with closing(Guest(screen, 0, screen.composed(0, EVERYWHERE, Page(PITCH * HEIGHT)))) as one:
            one.flip()
            assert entered.wait(SECONDS)
            remover = threading.Thread(target=screen.mix.remove, args=(0,))
            remover.start()
            no_wait()
            assert remover.is_alive()
            go_on.set()
            remover.join(SECONDS)
            assert not remover.is_alive()
            screen.vblank()
            one.connector.flips.stop()
            one.connector.flips.abandon()


def test_what_was_ready_is_forgotten_with_its_layer(planes: tuple[Screen, Guest, Guest]) -> None:
    screen, first, second = planes
    first.flip()
    screen.committing(1)
    second.flipping()
    screen.mix.remove(1)
    screen.vblank()
    first.shown(1)
    first.flip()
    screen.committing(2)
    assert screen.commits == [[10], [10]]


def test_it_ends_with_a_commit_in_flight_and_one_that_waits() -> None:
    screen = Screen(2, SLOW)
    first = Guest(screen, 0, screen.plane(0, 10))
    second = Guest(screen, 1, screen.plane(1, 20))
    first.flip()
    screen.committing(1)
    second.flipping()
    for guest in (first, second):
        guest.close()
    screen.close()
    assert len(screen.commits) == 1


# Compositions


def filled(place: Rect, value: int) -> Page:
    page = Page(4 * place.width * place.height)
    page.data.raw = bytes([value]) * len(page.data)
    return page


def painted(*layers: tuple[Rect, int]) -> bytes:
    """What a buffer with these, lowest first, has."""
    picture = bytearray(PITCH * HEIGHT)
    for place, value in layers:
        for y in range(place.y, place.y + place.height):
            at = y * PITCH + 4 * place.x
            picture[at : at + 4 * place.width] = bytes([value]) * (4 * place.width)
    return bytes(picture)


LOW, HIGH, APART = Rect(2, 2, 10, 8), Rect(8, 6, 10, 8), Rect(20, 0, 4, 4)


class Composition:
    """A background and three places on one screen, shown by commits of the test's own."""

    def __init__(self) -> None:
        self.screen = Screen(4, SLOW, composed=True)
        self.mix = self.screen.mix
        self.show(0, EVERYWHERE, 1)
        self.mix.pause()

    def show(self, layer: int, place: Rect, value: int) -> MixPicture:
        picture = self.screen.composed(layer, place, filled(place, value))
        self.again(picture)
        return picture

    def again(self, picture: MixPicture | None) -> bytes:
        """What is on screen then."""
        side = self.mix.compose(picture)
        self.mix.shown(picture)
        return self.screen.buffers[side].data.raw

    def copied(self, picture: MixPicture | None) -> int:
        before = self.mix.copies
        self.again(picture)
        return self.mix.copies - before

    def close(self) -> None:
        self.screen.close()


@pytest.fixture
def composition() -> Iterator[Composition]:
    with closing(Composition()) as made:
        yield made


def test_both_buffers_show_all_layers(composition: Composition) -> None:
    composition.show(1, LOW, 2)
    composition.show(2, HIGH, 3)
    composition.show(3, APART, 4)
    expected = painted((EVERYWHERE, 1), (LOW, 2), (HIGH, 3), (APART, 4))
    assert [composition.again(None) for _ in range(2)] == [expected] * 2


def test_what_a_buffer_already_has_is_not_copied_again(composition: Composition) -> None:
    low = composition.show(1, LOW, 2)
    high = composition.show(2, HIGH, 3)
    apart = composition.show(3, APART, 4)
    composition.again(None)
    assert composition.copied(None) == 0
    # In turns, each into one buffer.
    assert [composition.copied(apart) for _ in range(3)] == [1, 1, 1]
    assert [composition.copied(high) for _ in range(3)] == [1 + 1, 1, 1]
    assert [composition.copied(low) for _ in range(3)] == [2 + 1 - 1, 2, 2], "and what is over it"
    assert composition.copied(None) == 2
    assert composition.copied(None) == 0


def test_what_was_below_a_layer_that_is_gone_is_drawn_again(composition: Composition) -> None:
    composition.show(1, LOW, 2)
    composition.show(2, HIGH, 3)
    composition.show(3, APART, 4)
    composition.again(None)
    composition.mix.remove(2)
    expected = painted((EVERYWHERE, 1), (LOW, 2), (APART, 4))
    assert [composition.again(None) for _ in range(2)] == [expected] * 2
    assert composition.copied(None) == 0


def test_a_smaller_picture_leaves_nothing_of_the_former_one(composition: Composition) -> None:
    composition.show(1, LOW, 2)
    composition.again(None)
    smaller = Rect(4, 4, 3, 3)
    composition.show(1, smaller, 5)
    expected = painted((EVERYWHERE, 1), (smaller, 5))
    assert [composition.again(None) for _ in range(2)] == [expected] * 2


def test_what_is_covered_is_not_fetched_until_it_is_not(composition: Composition) -> None:
    low = composition.show(1, LOW, 2)
    composition.show(2, EVERYWHERE, 3)
    composition.again(None)
    assert composition.copied(low) == 0
    assert composition.again(None) == painted((EVERYWHERE, 3))
    composition.mix.remove(2)
    expected = painted((EVERYWHERE, 1), (LOW, 2))
    assert [composition.again(None) for _ in range(2)] == [expected] * 2


def test_any_sequence_of_changes_gives_the_picture_that_painting_gives(
    composition: Composition,
) -> None:
    chance = random.Random(4)
    now: dict[int, tuple[Rect, int]] = {0: (EVERYWHERE, 1)}
    for step in range(400):
        layer = chance.randrange(1, 4)
        if chance.random() < 0.2:
            composition.mix.remove(layer)
            now.pop(layer, None)
            picture = None
        else:
            x, y = chance.randrange(WIDTH), chance.randrange(HEIGHT)
            place = Rect(
                x, y, chance.randrange(1, WIDTH - x + 1), chance.randrange(1, HEIGHT - y + 1)
            )
            value = step % 250 + 2
            picture = composition.screen.composed(layer, place, filled(place, value))
            now[layer] = place, value
        assert composition.again(picture) == painted(*(now[n] for n in sorted(now))), step


def test_guests_flips_are_composed_and_the_buffers_take_turns() -> None:
    with closing(Screen(3, SLOW, composed=True)) as screen:
        background, low, high = filled(EVERYWHERE, 1), filled(LOW, 2), filled(HIGH, 3)
        screen.mix.pause()
        bottom = screen.composed(0, EVERYWHERE, background)
        assert screen.mix.compose(bottom) == 0
        screen.mix.shown(bottom)
        first = Guest(screen, 1, screen.composed(1, LOW, low))
        second = Guest(screen, 2, screen.composed(2, HIGH, high))
        with closing(first), closing(second):
            for count in range(1, 4):
                first.flipping()
                second.flipping()
                # Until they are copied guests do not draw; here each has drawn before its flip.
                screen.mix.resume()
                screen.committing(count)
                shown = screen.buffers[screen.commits[-1][0] - 100].data.raw
                assert shown == painted((EVERYWHERE, 1), (LOW, low.data[0][0]), (HIGH, 3))
                screen.mix.pause()
                low.data.raw = bytes([10 + count]) * len(low.data)
                screen.vblank()
                first.shown(count)
                second.shown(count)
        assert screen.commits == [[101], [100], [101]]
        assert screen.mix.copies == 1 + 3 + 2 + 2, "the background once for each buffer"


def test_a_plane_above_a_composition_is_in_its_commit() -> None:
    with closing(Screen(2, SLOW, composed=True)) as screen:
        low = Guest(screen, 0, screen.composed(0, LOW, filled(LOW, 2)))
        high = Guest(screen, 1, screen.plane(1, 20))
        with closing(low), closing(high):
            screen.mix.pause()
            low.flipping()
            high.flipping()
            screen.mix.resume()
            screen.committing(1)
            screen.vblank()
            high.shown(1)
            low.shown(1)
        assert screen.commits == [[20, 100]]


THREADS = ["-g", "-O1", "-fsanitize=thread"]


@pytest.mark.parametrize(
    "flags", [OPTIMIZED, SANITIZED, THREADS], ids=["fast", "memory", "threads"]
)
def test_threads_of_guests_card_and_python_at_once(tmp_path: Path, flags: list[str]) -> None:
    program = build(tmp_path / "mix", flags, Path(__file__).parent / "mix.c", *MIXES)
    assert output(program) == "done\n"
