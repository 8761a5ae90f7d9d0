/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory that guests write too, for Python: addresses come as integers. */
#ifndef XDB_SHARED_MEMORY_H
#define XDB_SHARED_MEMORY_H

#include <stddef.h>
#include <stdint.h>

uint32_t xdb_load_acquire(uintptr_t address);
void xdb_store_release(uintptr_t address, uint32_t value);
void xdb_fence(void);
void xdb_read(uintptr_t address, void *copy, size_t size);
void xdb_write(uintptr_t address, const void *data, size_t size);

#endif
