# SPDX-License-Identifier: GPL-2.0-or-later
"""What the next process must know of a connected frontend to go on serving it, in memory that outlives this one.

A memfd, which systemd holds (:mod:`xendisplback.kept`) and no guest reaches. It is true at every moment, so that a
process may be killed at any: what slow requests did is written before each is answered, into the one of two areas
that is not the valid one; flips, which C performs, leave a ``struct xdb_record`` (cffi_build/flip.h) for each
connector.

::

    0       which area is valid, and how long it is: length << 1 | area; 0: none
    64 n    the record of connector n - 1
    4096    area 0: KeptConnection as JSON
    ...     area 1
"""

from __future__ import annotations

import binascii
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.frontend.nodes import FrontendNodes
from xendisplback.protocol.displif import DbufCreate, FbAttach
from xendisplback.protocol.ring import IN_PROD, RSP_PROD, U32
from xendisplback.scanout.frame import Crop
from xendisplback.xen.shared_memory import FileMapping

FORMAT = 1
"""Of :class:`KeptConnection`; another one's journal is not read."""
PAGE = 4096
RECORD = 64
AREA = 1 << 20
"""Five times what the most buffers and framebuffers that a connection may have take."""


class JournalMismatch(Exception):
    """The journal is not this version's, or not about what the guest's pages and nodes say."""


class KeptBuffer(msgspec.Struct, frozen=True):
    create: DbufCreate
    checksum: int
    """Of its grant references."""
    frames: list[FbAttach]


class KeptConnector(msgspec.Struct, frozen=True):
    fb_cookie: int
    """The framebuffer that it was told to show; 0: none."""
    crop: Crop | None
    response_number: int
    """How many responses came before ``response``, modulo 2**32."""
    response: bytes
    """The last one to a slow request, which may not have been given; b"": there was none."""


class KeptConnection(msgspec.Struct, frozen=True):
    format: int
    nodes: FrontendNodes
    buffers: list[KeptBuffer]
    connectors: list[KeptConnector]


@dataclass(frozen=True, slots=True)
class KeptFlip:
    """The last flip of a connector."""

    fb_cookie: int
    """0: there was none since the last SET_CONFIG."""
    event_owed: bool
    """It was answered, and its event was not sent."""


def checksum(refs: Sequence[int]) -> int:
    """Against mistakes: a guest that makes two directories alike maps its own pages."""
    return binascii.crc32(array("I", refs).tobytes())


class Journal:
    def __init__(self, fd: int | None = None) -> None:
        """``fd``: an earlier process's; owned. Raises JournalMismatch, HostError."""
        try:
            self.fd = os.memfd_create("xendisplback-journal", os.MFD_CLOEXEC) if fd is None else fd
            try:
                if fd is None:
                    os.ftruncate(self.fd, PAGE + 2 * AREA)
                elif os.fstat(fd).st_size != PAGE + 2 * AREA:
                    raise JournalMismatch("the journal has another size")
                self._page = FileMapping(self.fd, PAGE)
            except BaseException:
                os.close(self.fd)
                raise
        except OSError as error:
            raise HostError("a journal", call="memfd_create", errno=error.errno) from error
        self._lib = load_flip().lib
        self._address = self._page.address

    def record(self, connector: int) -> int:
        """The address of its ``struct xdb_record``."""
        return self._address + RECORD * (connector + 1)

    def write(self, connection: KeptConnection) -> None:
        """Valid when this returns; the one before is until then."""
        area = ~self._valid & 1
        data = msgspec.json.encode(connection)
        os.pwrite(self.fd, data, PAGE + area * AREA)
        self._lib.xdb_store_release(self._address, len(data) << 1 | area)

    @property
    def _valid(self) -> int:
        return self._lib.xdb_load_acquire(self._address)

    def read(self) -> KeptConnection:
        """Raises JournalMismatch."""
        length, area = self._valid >> 1, self._valid & 1
        try:
            data = os.pread(self.fd, length, PAGE + area * AREA)
            connection = msgspec.json.decode(data, type=KeptConnection)
        except (OSError, msgspec.DecodeError) as error:
            raise JournalMismatch(f"the journal can't be read: {error}") from error
        if connection.format != FORMAT:
            raise JournalMismatch(f"a journal of format {connection.format}, ours is {FORMAT}")
        return connection

    def flip(self, connector: int, request_page: int, event_page: int) -> KeptFlip:
        """The last one, from the record and the connector's shared pages, before anyone uses these again.

        Raises JournalMismatch.
        """
        load = self._lib.xdb_load_acquire
        where = self.record(connector)
        kept_rsp, kept_in, flip_rsp, flip_in = (load(where + 4 * word) for word in range(4))
        cookie = load(where + 16) | load(where + 20) << 32
        rsp_prod, in_prod = load(request_page + RSP_PROD), load(event_page + IN_PROD)
        # The process may have ended between the guest's page and the record.
        if (rsp_prod - kept_rsp) & U32 > 1 or (in_prod - kept_in) & U32 > 1:
            raise JournalMismatch(
                f"connector {connector}: rsp_prod is {rsp_prod}, we left it at {kept_rsp};"
                f" in_prod is {in_prod}, we left it at {kept_in}"
            )
        answered = (rsp_prod - flip_rsp) & U32 < 1 << 31
        return KeptFlip(cookie, cookie != 0 and answered and in_prod == flip_in)

    def close(self) -> None:
        """Nobody writes records any more. Idempotent."""
        if self.fd >= 0:
            self._page.close()
            os.close(self.fd)
            self.fd = -1
