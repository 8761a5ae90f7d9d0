# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``xendisplback._ext._memory``: ring pages, copies and conversions, the copier's thread."""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

# memory.h says what each does.
ffibuilder.cdef("""
uint32_t xdb_load_acquire(uintptr_t address);
void xdb_store_release(uintptr_t address, uint32_t value);
void xdb_fence(void);
void xdb_read(uintptr_t address, void *copy, size_t size);
void xdb_write(uintptr_t address, const void *data, size_t size);

enum xdb_conversion {
    XDB_COPY, XDB_RGB565, XDB_RGB888, XDB_XRGB4444, XDB_XRGB1555, XDB_YUYV, ...
};
struct xdb_job {
    uintptr_t source;
    uintptr_t destination;
    size_t source_pitch;
    size_t destination_pitch;
    size_t units;
    uint32_t rows;
    int conversion;
};
int xdb_run(const struct xdb_job *job, uint64_t *digest);
int xdb_digest(const struct xdb_job *job, uint64_t *digest);
int xdb_choose_copy(void);

struct xdb_copier;
struct xdb_copier *xdb_copier_new(int done_fd);
void xdb_copier_start(struct xdb_copier *copier, const struct xdb_job *job, uintptr_t submit,
                      uintptr_t argument);
int xdb_copier_wait(struct xdb_copier *copier);
void xdb_copier_free(struct xdb_copier *copier);
""")

ffibuilder.set_source(
    "xendisplback._ext._memory",
    '#include "memory.h"',
    sources=[
        "cffi_build/memory_ring.c",
        "cffi_build/memory_convert.c",
        "cffi_build/memory_copy.c",
        "cffi_build/memory_digest.c",
        "cffi_build/memory_copier.c",
    ],
    include_dirs=["cffi_build"],
    depends=["cffi_build/memory.h", "cffi_build/memory_picture.h"],
    # -O3: the conversions are to be vectorised.
    extra_compile_args=["-O3", "-pthread"],
    extra_link_args=["-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
