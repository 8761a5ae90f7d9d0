# SPDX-License-Identifier: GPL-2.0-or-later
"""Encoders: which CRTCs can feed a connector. Atomic drivers choose among them by themselves."""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.kms.device import Device


@dataclass(frozen=True, slots=True)
class Encoder:
    id: int
    type: int
    """DRM_MODE_ENCODER_*, drm_mode.h."""
    possible_crtcs: int
    """Bit n: the CRTC with index n."""


def read_encoder(device: Device, encoder_id: int) -> Encoder:
    """Raises HostError."""
    with device.fetched(
        device.lib.drmModeGetEncoder(device.fd, encoder_id),
        device.lib.drmModeFreeEncoder,
        "drmModeGetEncoder",
    ) as found:
        return Encoder(encoder_id, found.encoder_type, found.possible_crtcs)
