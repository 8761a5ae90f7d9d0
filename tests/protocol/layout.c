/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Prints displif's slots and offsets as the C compiler lays them out, for test_c_layout.py. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/io/ring.h>
#include <xen/io/displif.h>

static void slot(const void *data)
{
	const unsigned char *bytes = data;

	for (int i = 0; i < 64; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

static struct xendispl_req request(int operation)
{
	struct xendispl_req r;

	memset(&r, 0, sizeof(r));
	r.id = 0x1234;
	r.operation = operation;
	return r;
}

int main(void)
{
	struct xendispl_req r;
	struct xendispl_resp p;
	struct xendispl_evt e;
	struct xendispl_page_directory *directory = NULL;

	r = request(XENDISPL_OP_DBUF_CREATE);
	r.op.dbuf_create.dbuf_cookie = 0x1111111122222222;
	r.op.dbuf_create.width = 3; r.op.dbuf_create.height = 4; r.op.dbuf_create.bpp = 5;
	r.op.dbuf_create.buffer_sz = 6; r.op.dbuf_create.flags = XENDISPL_DBUF_FLG_REQ_ALLOC;
	r.op.dbuf_create.gref_directory = 8; r.op.dbuf_create.data_ofs = 9;
	slot(&r);
	r = request(XENDISPL_OP_DBUF_DESTROY);
	r.op.dbuf_destroy.dbuf_cookie = 0x1111111122222222;
	slot(&r);
	r = request(XENDISPL_OP_FB_ATTACH);
	r.op.fb_attach.dbuf_cookie = 0x1111111122222222;
	r.op.fb_attach.fb_cookie = 0x3333333344444444;
	r.op.fb_attach.width = 3; r.op.fb_attach.height = 4; r.op.fb_attach.pixel_format = 0x34325258;
	slot(&r);
	r = request(XENDISPL_OP_FB_DETACH);
	r.op.fb_detach.fb_cookie = 0x3333333344444444;
	slot(&r);
	r = request(XENDISPL_OP_SET_CONFIG);
	r.op.set_config.fb_cookie = 0x3333333344444444;
	r.op.set_config.x = 1; r.op.set_config.y = 2; r.op.set_config.width = 3;
	r.op.set_config.height = 4; r.op.set_config.bpp = 5;
	slot(&r);
	r = request(XENDISPL_OP_PG_FLIP);
	r.op.pg_flip.fb_cookie = 0x3333333344444444;
	slot(&r);
	r = request(XENDISPL_OP_GET_EDID);
	r.op.get_edid.buffer_sz = 40000; r.op.get_edid.gref_directory = 7;
	slot(&r);

	memset(&p, 0, sizeof(p));
	p.id = 0x1234; p.operation = XENDISPL_OP_GET_EDID; p.status = -22; p.op.get_edid.edid_sz = 77;
	slot(&p);
	memset(&e, 0, sizeof(e));
	e.id = 0x1234; e.type = XENDISPL_EVT_PG_FLIP; e.op.pg_flip.fb_cookie = 0x3333333344444444;
	slot(&e);

	printf("%zu %zu %zu %zu %zu %u %zu %zu %zu %u %zu %zu\n",
	       offsetof(struct xen_displif_sring, req_prod),
	       offsetof(struct xen_displif_sring, req_event),
	       offsetof(struct xen_displif_sring, rsp_prod),
	       offsetof(struct xen_displif_sring, rsp_event),
	       offsetof(struct xen_displif_sring, ring),
	       (unsigned)__CONST_RING_SIZE(xen_displif, 4096),
	       offsetof(struct xendispl_event_page, in_cons),
	       offsetof(struct xendispl_event_page, in_prod),
	       (size_t)XENDISPL_IN_RING_OFFS, (unsigned)XENDISPL_IN_RING_LEN,
	       offsetof(struct xendispl_page_directory, gref_dir_next_page),
	       (size_t)&directory->gref[0]);
	return 0;
}
