# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the control ring and the event page have what: ring macros of xen/io/ring.h, struct xendispl_event_page.

The backend's end of both is C (cffi_build/flip_ring.c); tests hold both against the C structs.
"""

from __future__ import annotations

from typing import Final

U32: Final = 0xFFFFFFFF

REQ_PROD: Final = 0
REQ_EVENT: Final = 4
RSP_PROD: Final = 8
RSP_EVENT: Final = 12
SLOTS_AT: Final = 64
RING_SLOTS: Final = 32

IN_CONS: Final = 0
IN_PROD: Final = 4
EVENT_SLOTS: Final = 63
