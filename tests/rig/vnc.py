# SPDX-License-Identifier: GPL-2.0-or-later
"""The few RFB (VNC) messages that plug in a monitor, and out.

QEMU's virtio-gpu reports a head as connected once a display client has told it a size; without a client
only the first head is. A VNC client does so with SetDesktopSize. It may leave afterwards. A size of 0x0
makes the head disconnected. dom0's kernel sends a uevent for both, and its preferred mode is the size.
"""

from __future__ import annotations

import socket
import struct

RFB_VERSION = b"RFB 003.008\n"
SECURITY_NONE = 1
SET_ENCODINGS = 2
FRAMEBUFFER_UPDATE_REQUEST = 3
SET_DESKTOP_SIZE = 251
ENCODINGS = (0, -308)  # raw, extended desktop size


def set_monitor(connection: socket.socket, width: int, height: int) -> None:
    """Handshake, SetDesktopSize with one screen, and an end that QEMU has surely read. 0x0: no monitor.

    Raises:
        ConnectionError: the server speaks something else or wants a password.
    """
    with connection:
        connection.settimeout(20)
        stream = connection.makefile("rwb")
        stream.read(12)
        stream.write(RFB_VERSION)
        stream.flush()
        (count,) = stream.read(1)
        if SECURITY_NONE not in stream.read(count):
            raise ConnectionError("VNC server without 'no authentication'")
        stream.write(bytes([SECURITY_NONE]))
        stream.flush()
        if stream.read(4) != bytes(4):
            raise ConnectionError("VNC server refused")
        stream.write(b"\1")  # shared
        stream.flush()
        *_, name_size = struct.unpack(">HH16sI", stream.read(24))
        stream.read(name_size)
        stream.write(struct.pack(">BxH", SET_ENCODINGS, len(ENCODINGS)))
        stream.write(struct.pack(f">{len(ENCODINGS)}i", *ENCODINGS))
        stream.write(struct.pack(">BxHHBx", SET_DESKTOP_SIZE, width, height, 1))
        stream.write(struct.pack(">IHHHHI", 0, 0, 0, width, height, 0))
        stream.write(struct.pack(">BBHHHH", FRAMEBUFFER_UPDATE_REQUEST, 0, 0, 0, 1, 1))
        stream.flush()
        # Messages are served in order: an answer to the last one means that the size has been taken.
        stream.read(1)
