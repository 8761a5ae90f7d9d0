# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way a buffer takes: case by case, with the errors that were seen on real kernels."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.errors import HostError
from xendisplback.scanout.ladder import (
    ADD_FRAMEBUFFER,
    COMMIT,
    EXPORT,
    EXPORTS,
    IMPORT,
    MAX_LEARNT,
    PLANE_FORMATS,
    CardFacts,
    Climb,
    Ladder,
    NothingLeft,
    Step,
    ZeroCopy,
)

GUEST = (*EXPORTS, Step.COPY)
OURS = (Step.CARD, Step.COPY)
BUFFER, PICTURE = "800x600x32", "800x600 XR24 on 800x600@60"
ARM = CardFacts(
    driver="test",
    can_import=True,
    scans_first_address=False,
    pv=False,
    direct_mapped=True,
    zero_copy="auto",
    iommu=False,
)
RCAR_VSP = replace(ARM, driver="rcar-du", scans_first_address=True)


def failed(call: str, number: int) -> HostError:
    return HostError("no", call=call, errno=number)


def climb(ladder: Ladder, buffer: str = BUFFER, picture: str = PICTURE) -> Climb:
    return ladder.climb(GUEST, buffer, picture)


def test_the_steps_are_tried_in_the_order_of_their_worth() -> None:
    ladder = Ladder(ARM)
    up = climb(ladder)
    tried = [up.step]
    while up.step is not Step.COPY:
        up.refuse(failed(IMPORT, errno.EINVAL))
        tried.append(up.step)
    assert tried == [Step.PLAIN, Step.WRITE_COMBINED, Step.COHERENT, Step.COPY]


@pytest.mark.parametrize(
    ("pv", "call", "number", "meaning"),
    [
        (False, EXPORT, errno.ENOTTY, "kernel without CONFIG_XEN_GNTDEV_DMABUF"),
        (True, EXPORT, errno.EINVAL, "a PV domain cannot export"),
        (True, EXPORT, errno.ENOTTY, "a PV domain cannot export, and its kernel has no"),
        (False, EXPORT, errno.EINVAL, "a grant reference is not valid"),
        (False, EXPORT, errno.ENOMEM, "no contiguous memory left"),
        (False, EXPORT, errno.EFAULT, "does not export these pages"),
        (False, IMPORT, errno.EINVAL, "the controller wants contiguous memory"),
        (False, IMPORT, errno.ENOMEM, "not DMA-mappable as one piece (swiotlb)"),
        (False, IMPORT, errno.ENODEV, "the driver takes no memory of others"),
        (False, IMPORT, errno.ENOSYS, "the driver has no PRIME import"),
        (False, IMPORT, errno.EOPNOTSUPP, "the driver has no PRIME import"),
        (False, IMPORT, errno.EPERM, "the driver does not take this memory"),
        (False, ADD_FRAMEBUFFER, errno.EINVAL, "pitch, format or size"),
        (False, ADD_FRAMEBUFFER, errno.ENOSPC, "the driver makes no framebuffer of it"),
        (False, PLANE_FORMATS, errno.EINVAL, "does not take the format"),
        (False, COMMIT, errno.EBUSY, "the controller was busy"),
        (False, COMMIT, errno.ENOMEM, "the controller does not show this memory"),
    ],
)
def test_each_refusal_is_recorded_with_call_errno_and_meaning(
    pv: bool, call: str, number: int, meaning: str
) -> None:
    up = climb(Ladder(replace(ARM, pv=pv)))
    up.refuse(failed(call, number))
    refusal = up.refusals[0]
    assert (refusal.step, refusal.call, refusal.errno) == (Step.PLAIN, call, number)
    assert meaning in refusal.meaning
    assert f"{call} {errno.errorcode[number]}: {refusal.meaning}" in up.way.how


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (EXPORT, errno.ETIMEDOUT),
        (COMMIT, errno.ENODEV),
        (COMMIT, errno.EIO),
        (COMMIT, errno.EACCES),
        ("mmap", errno.ENOMEM),
    ],
)
def test_what_says_nothing_about_a_way_ends_the_climb_and_is_not_learnt(
    call: str, number: int
) -> None:
    ladder = Ladder(ARM)
    error = failed(call, number)
    with pytest.raises(HostError) as caught:
        climb(ladder).refuse(error)
    assert caught.value is error
    assert climb(ladder).step is Step.PLAIN


def test_a_kernel_that_does_not_export_is_asked_once() -> None:
    ladder = Ladder(ARM)
    up = climb(ladder)
    up.refuse(failed(EXPORT, errno.ENOTTY))
    assert up.step is Step.COPY
    other = climb(ladder, buffer="another")
    assert other.step is Step.COPY
    assert {refusal.errno for refusal in other.refusals} == {errno.ENOTTY}


def test_an_invalid_reference_is_tried_no_further_and_not_held_against_the_next_buffer() -> None:
    ladder = Ladder(ARM)
    up = climb(ladder)
    up.refuse(failed(EXPORT, errno.EINVAL))
    assert up.step is Step.COPY
    assert climb(ladder).step is Step.PLAIN


def test_an_import_that_failed_is_known_for_buffers_of_that_shape_alone() -> None:
    ladder = Ladder(ARM)
    climb(ladder).refuse(failed(IMPORT, errno.ENOMEM))
    assert climb(ladder, picture="another picture").step is Step.WRITE_COMBINED
    assert climb(ladder, buffer="another").step is Step.PLAIN


def test_a_refused_commit_is_known_for_that_picture_alone() -> None:
    ladder = Ladder(ARM)
    climb(ladder).refuse(failed(COMMIT, errno.EINVAL))
    assert climb(ladder).step is Step.WRITE_COMBINED
    assert climb(ladder, picture="in the middle of a larger mode").step is Step.PLAIN


@pytest.mark.parametrize("call", [ADD_FRAMEBUFFER, PLANE_FORMATS])
def test_what_no_framebuffer_can_be_made_of_is_not_exported_in_other_ways(call: str) -> None:
    ladder = Ladder(ARM)
    up = climb(ladder)
    up.refuse(failed(call, errno.EINVAL))
    assert up.step is Step.COPY
    assert climb(ladder, picture="another").step is Step.PLAIN
    ours = ladder.climb(OURS, BUFFER, PICTURE)
    ours.refuse(failed(call, errno.EINVAL))
    assert ladder.climb(OURS, BUFFER, PICTURE).step is Step.COPY


def test_a_new_buffer_is_expected_to_show_what_the_last_of_its_shape_showed() -> None:
    ladder = Ladder(ARM)
    climb(ladder).refuse(failed(COMMIT, errno.EINVAL))
    assert ladder.climb(GUEST, BUFFER).step is Step.WRITE_COMBINED
    assert ladder.climb(GUEST, "another").step is Step.PLAIN


def test_a_card_that_comes_back_starts_anew() -> None:
    again = replace(ARM)
    assert again != ARM


def test_copying_that_fails_is_the_end() -> None:
    up = Ladder(replace(ARM, zero_copy="never")).climb(GUEST, BUFFER, PICTURE)
    error = failed(COMMIT, errno.EINVAL)
    with pytest.raises(HostError) as caught:
        up.refuse(error)
    assert caught.value is error


def test_never_copies_at_once_and_says_that_it_was_told_to() -> None:
    up = climb(Ladder(replace(ARM, zero_copy="never")))
    assert up.step is Step.COPY
    expected = 'by copy (plain export, write-combined export, coherent export: zero-copy = "never")'
    assert up.way.how == expected


def test_require_refuses_to_copy_with_the_last_errno_and_every_reason() -> None:
    up = climb(Ladder(replace(ARM, zero_copy="require")))
    up.refuse(failed(IMPORT, errno.EINVAL))
    up.refuse(failed(EXPORT, errno.ENOMEM))
    with pytest.raises(NothingLeft, match=r"contiguous memory;.*CMA.*; copy: zero-copy") as caught:
        up.refuse(failed(IMPORT, errno.ENODEV))
    assert caught.value.errno == errno.ENODEV


def test_require_with_nothing_to_try_is_refused_as_not_supported() -> None:
    facts = replace(ARM, zero_copy="require", can_import=False)
    with pytest.raises(NothingLeft, match="imports no dma-bufs") as caught:
        climb(Ladder(facts))
    assert caught.value.errno == errno.EOPNOTSUPP


def test_a_driver_without_import_is_not_asked() -> None:
    up = climb(Ladder(replace(ARM, can_import=False)))
    assert (up.step, {refusal.call for refusal in up.refusals}) == (Step.COPY, {"drmGetCap"})


@pytest.mark.parametrize("policy", ["auto", "require"])
def test_rcar_du_with_vsp_shows_no_guests_memory_without_an_iommu(policy: ZeroCopy) -> None:
    facts = replace(RCAR_VSP, zero_copy=policy)
    if policy == "require":
        with pytest.raises(NothingLeft, match="wrong memory without an error"):
            climb(Ladder(facts))
    else:
        up = climb(Ladder(facts))
        assert up.step is Step.COPY
        assert "wrong memory without an error" in up.way.how


def test_rcar_du_with_vsp_behind_an_iommu_takes_contiguous_exports_only() -> None:
    up = climb(Ladder(replace(RCAR_VSP, iommu=True)))
    assert up.step is Step.WRITE_COMBINED
    assert up.refusals[0].step is Step.PLAIN


def test_rcar_du_with_vsp_shows_its_own_memory() -> None:
    assert Ladder(RCAR_VSP).climb(OURS, BUFFER, PICTURE).step is Step.CARD


def test_a_domain_that_is_not_direct_mapped_has_an_iommu() -> None:
    assert climb(Ladder(replace(RCAR_VSP, direct_mapped=False))).step is Step.WRITE_COMBINED


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=400))
def test_a_guest_that_invents_shapes_fills_no_memory(shapes: list[tuple[int, int]]) -> None:
    ladder = Ladder(ARM)
    for buffer, picture in shapes:
        up = ladder.climb(GUEST, buffer, picture)
        while up.step is not Step.COPY:
            up.refuse(failed(COMMIT, errno.EINVAL))
    assert ladder.learnt <= MAX_LEARNT


calls = st.sampled_from([EXPORT, IMPORT, ADD_FRAMEBUFFER, COMMIT])
numbers = st.sampled_from([errno.EINVAL, errno.ENOMEM, errno.ENOTTY, errno.EBUSY, errno.ENODEV])


@given(st.lists(st.tuples(calls, numbers), max_size=4), st.booleans())
def test_a_climb_ends_at_copying_or_with_an_error_and_never_goes_down(
    errors: list[tuple[str, int]], pv: bool
) -> None:
    order = list(GUEST)
    up = climb(Ladder(replace(ARM, pv=pv)))
    for call, number in errors:
        before = up.step
        try:
            up.refuse(failed(call, number))
        except HostError:
            return
        assert order.index(up.step) > order.index(before)
