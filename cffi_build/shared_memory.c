/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ordering that Python can't give. */
#include "shared_memory.h"

#include <string.h>

uint32_t xdb_load_acquire(uintptr_t address)
{
	return __atomic_load_n((const uint32_t *)address, __ATOMIC_ACQUIRE);
}

void xdb_store_release(uintptr_t address, uint32_t value)
{
	__atomic_store_n((uint32_t *)address, value, __ATOMIC_RELEASE);
}

void xdb_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The guest may write while we copy: whatever is copied, only the copy is looked at. */
void xdb_read(uintptr_t address, void *copy, size_t size)
{
	memcpy(copy, (const void *)address, size);
}

void xdb_write(uintptr_t address, const void *data, size_t size)
{
	memcpy((void *)address, data, size);
}
