/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backend's end of the control ring and of the event page (xen/io/ring.h, xen/io/displif.h). The guest can write
 * all of both at any time: what it owns is bounded before use, and a slot is copied once and only the copy looked at.
 */
#include "flip.h"

#include <errno.h>
#include <string.h>

enum {
	REQ_PROD = 0, REQ_EVENT = 4, RSP_PROD = 8, RSP_EVENT = 12, SLOTS_AT = 64, RING_SLOTS = 32,
	IN_CONS = 0, IN_PROD = 4, EVENT_SLOTS = 63,
};

static uint32_t load(uintptr_t page, int offset)
{
	return __atomic_load_n((const uint32_t *)(page + offset), __ATOMIC_ACQUIRE);
}

/* What was written before is visible with it. */
static void store(uintptr_t page, int offset, uint32_t value)
{
	__atomic_store_n((uint32_t *)(page + offset), value, __ATOMIC_RELEASE);
}

static void *slot_at(uintptr_t page, uint32_t number)
{
	return (void *)(page + SLOTS_AT + (uintptr_t)number * XDB_SLOT);
}

void xdb_request_ring_init(struct xdb_request_ring *ring, uintptr_t page)
{
	ring->page = page;
	/* Requests that an earlier backend took and did not answer are still there. */
	ring->rsp_prod = ring->published = ring->req_cons = ring->req_prod = load(page, RSP_PROD);
}

int xdb_request_ring_take(struct xdb_request_ring *ring, void *slot)
{
	uint32_t ahead;

	ring->req_prod = load(ring->page, REQ_PROD);
	ahead = ring->req_prod - ring->rsp_prod;
	if (ahead > RING_SLOTS || ring->req_prod - ring->req_cons > ahead)
		return -EPROTO;
	if (ring->req_prod == ring->req_cons)
		return 0;
	memcpy(slot, slot_at(ring->page, ring->req_cons % RING_SLOTS), XDB_SLOT);
	ring->req_cons++;
	return 1;
}

void xdb_request_ring_respond(struct xdb_request_ring *ring, const void *response)
{
	memcpy(slot_at(ring->page, ring->rsp_prod % RING_SLOTS), response, XDB_SLOT);
	ring->rsp_prod++;
}

int xdb_request_ring_push(struct xdb_request_ring *ring)
{
	uint32_t old = ring->published, new = ring->rsp_prod;

	store(ring->page, RSP_PROD, new);
	/* The guest writes its wish and then looks for responses; we the other way round. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring->published = new;
	return new - load(ring->page, RSP_EVENT) < new - old;
}

int xdb_request_ring_idle(struct xdb_request_ring *ring)
{
	store(ring->page, REQ_EVENT, ring->req_cons + 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(ring->page, REQ_PROD) == ring->req_cons;
}

void xdb_event_ring_init(struct xdb_event_ring *ring, uintptr_t page)
{
	ring->page = page;
	ring->in_prod = ring->in_cons = load(page, IN_PROD);
}

int xdb_event_ring_send(struct xdb_event_ring *ring, uint64_t fb_cookie)
{
	struct {
		uint16_t id;
		uint8_t type;		/* XENDISPL_EVT_PG_FLIP, 0 */
		uint8_t reserved[5];
		uint64_t fb_cookie;
		uint8_t padding[48];
	} event = { .id = (uint16_t)ring->in_prod, .fb_cookie = fb_cookie };
	uint32_t waiting;

	_Static_assert(sizeof(event) == XDB_SLOT, "an event fills its slot");
	ring->in_cons = load(ring->page, IN_CONS);
	waiting = ring->in_prod - ring->in_cons;
	if (waiting > EVENT_SLOTS)
		return -EPROTO;
	/* The frontend counts events itself and skips those with another id: a dropped one must not use one up. */
	if (waiting == EVENT_SLOTS)
		return 0;
	memcpy(slot_at(ring->page, ring->in_prod % EVENT_SLOTS), &event, XDB_SLOT);
	store(ring->page, IN_PROD, ++ring->in_prod);
	return 1;
}
