# SPDX-License-Identifier: GPL-2.0-or-later
from typing import NamedTuple

class _Operations(NamedTuple):
    DIRECTORY: int
    READ: int
    GET_PERMS: int
    WATCH: int
    UNWATCH: int
    TRANSACTION_START: int
    TRANSACTION_END: int
    GET_DOMAIN_PATH: int
    WRITE: int
    MKDIR: int
    RM: int
    SET_PERMS: int
    WATCH_EVENT: int
    ERROR: int
    IS_DOMAIN_INTRODUCED: int

Op: _Operations

class Packet(NamedTuple):
    op: int
    rq_id: int
    tx_id: int
    size: int
    payload: bytes

class Client:
    def __init__(self, unix_socket_path: str | None = ...) -> None: ...
    def connect(self) -> None: ...
    def close(self) -> None: ...
    def read(self, path: bytes) -> bytes: ...
    def write(self, path: bytes, value: bytes) -> None: ...
    def delete(self, path: bytes) -> None: ...
    def get_perms(self, path: bytes) -> list[bytes]: ...
    def set_perms(self, path: bytes, perms: list[bytes]) -> None: ...
    def introduce_domain(self, domid: int, mfn: int, eventchn: int) -> None: ...
    def list(self, path: bytes) -> list[bytes]: ...
    def transaction(self) -> int: ...
    def commit(self) -> bool: ...
