// SPDX-License-Identifier: GPL-2.0
/*
 * A display controller for the test rig, after the likes of rcar-du. For tests only.
 *
 * Why it exists: what a dma-buf of grants needs from the display hardware shows only on a controller that reads memory
 * by address, and the virtual displays with stock drivers don't: virtio-gpu, bochs and vkms copy pixels, or refuse such
 * a buffer at once. QEMU's "ramfb" reads the machine's memory itself, at an address with a stride that the guest hands
 * over through fw_cfg. This driver makes a KMS card of it, and parameters say which kind of controller it is:
 *
 *   contiguous=1  scans from one address and knows: takes only tables that are one DMA segment (drm_gem_dma helpers,
 *                 rcar-du without VSP). Others are EINVAL at import.
 *   contiguous=0  scans from one address and doesn't care: takes any table, shows memory from the first address on, be
 *                 it the buffer or not (rcar-du with VSP and no IOMMU).
 *   iommu=0       reads machine addresses: the importer has the platform's real DMA operations (in a Xen dom0
 *                 swiotlb-xen), and ramfb is pointed at the buffer. No pixel is copied.
 *   iommu=1       is behind an IOMMU that maps guest-physical addresses: the importer has the direct mapping, also in
 *                 a dom0. ramfb has no IOMMU, so that the driver translates and copies the frame at each vblank.
 *
 * With "head2" a bochs-display without a driver becomes a second output, whose frames are always copied to its memory,
 * from the same addresses. An address that isn't part of the table shows grey there (and with iommu=1) and is counted.
 * An output that is off shows 32x32 black pixels (ramfb can't be switched off), respectively nothing.
 *
 * QEMU needs -device ramfb, the kernel ../arm64.config. Another model is another load, when nobody has the card open:
 *
 *   echo 0000:00:02.0 > /sys/bus/pci/drivers/bochs-drm/unbind
 *   insmod rig_display.ko name=rcar-du vsp=1 contiguous=0 pitch_align=256 head2=0000:00:02.0
 *   cat /sys/module/rig_display/parameters/copied
 *   rmmod rig_display
 */

#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/memblock.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/device/faux.h>
#include <uapi/linux/qemu_fw_cfg.h>

#include <drm/drm_atomic.h>
#include <drm/drm_atomic_helper.h>
#include <drm/drm_crtc_helper.h>
#include <drm/drm_drv.h>
#include <drm/drm_dumb_buffers.h>
#include <drm/drm_edid.h>
#include <drm/drm_fb_dma_helper.h>
#include <drm/drm_fourcc.h>
#include <drm/drm_framebuffer.h>
#include <drm/drm_gem_dma_helper.h>
#include <drm/drm_gem_framebuffer_helper.h>
#include <drm/drm_managed.h>
#include <drm/drm_modeset_helper_vtables.h>
#include <drm/drm_prime.h>
#include <drm/drm_print.h>
#include <drm/drm_probe_helper.h>
#include <drm/drm_vblank.h>
#include <drm/drm_vblank_helper.h>

static bool iommu;
module_param(iommu, bool, 0444);
MODULE_PARM_DESC(iommu, "Behind an IOMMU that maps guest-physical addresses (default 0)");

static bool contiguous = true;
module_param(contiguous, bool, 0444);
MODULE_PARM_DESC(contiguous, "Refuse buffers that are not one DMA segment (default 1)");

static uint pitch_align = 1;
module_param(pitch_align, uint, 0444);
MODULE_PARM_DESC(pitch_align, "Pitches are multiples of this many bytes (default 1)");

static char *name = "rig-display";
module_param(name, charp, 0444);
MODULE_PARM_DESC(name, "Name of the DRM driver and of the platform driver");

static bool vsp;
module_param(vsp, bool, 0444);
MODULE_PARM_DESC(vsp, "The device's node has the property renesas,vsps (default 0)");

static char *head2 = "";
module_param(head2, charp, 0444);
MODULE_PARM_DESC(head2, "PCI address (0000:00:05.0) of a bochs-display without a driver, as second output");

/* What happened since the module was loaded; see count(). */
static ullong commits, modesets, imports, copied, faults;
module_param(commits, ullong, 0444);
MODULE_PARM_DESC(commits, "Commits to all outputs");
module_param(modesets, ullong, 0444);
MODULE_PARM_DESC(modesets, "How often outputs were switched on, also for another mode");
module_param(imports, ullong, 0444);
MODULE_PARM_DESC(imports, "Imported dma-bufs");
module_param(copied, ullong, 0444);
MODULE_PARM_DESC(copied, "Bytes that the driver copied");
module_param(faults, ullong, 0444);
MODULE_PARM_DESC(faults, "Bytes of copied frames at addresses that the buffer doesn't have");

/* A frame at 32 bits a pixel. */
#define RIG_FRAME_SIZE	(1920 * 1080 * 4)
/* A picture that isn't flipped is copied every so many vblanks: emulated processors are slow. */
#define RIG_REFRESH	4
#define RIG_OFF_SIZE	32

#define FW_CFG_DMA_REG	16

/* Registers of bochs-display, in its BAR 2 */
#define DISPI(index)	(0x500 + 2 * (index))
#define DISPI_XRES	1
#define DISPI_YRES	2
#define DISPI_BPP	3
#define DISPI_ENABLE	4
#define DISPI_WIDTH	6
#define DISPI_Y_OFFSET	9
#define DISPI_ON	0x41 /* enabled, linear frame buffer */

struct rig_bo {
	struct drm_gem_dma_object dma; /* first: drm_gem_dma_free() frees it */
	struct page **pages; /* imported and copied: the page at each address from dma.dma_addr on, or NULL */
};

/* What an output shows: a rectangle of a frame buffer. */
struct rig_view {
	struct drm_framebuffer *fb;
	u32 offset, width, height;
};

struct rig_head {
	struct drm_plane plane;
	struct drm_crtc crtc;
	struct drm_encoder encoder;
	struct drm_connector connector;

	/* Outputs that copy: memory for two frames in turn, one after the other without a gap */
	bool copies;
	struct iosys_map frames;
	dma_addr_t frames_addr; /* the first output's */
	unsigned int back, age;
	struct work_struct work;
	spinlock_t lock; /* view, flipped */
	struct rig_view view;
	bool flipped;
};

struct rig {
	struct drm_device drm;
	struct rig_head heads[2];

	struct mutex lock; /* the fw_cfg interface */
	void __iomem *fw_cfg;
	struct rig_exchange *exchange;
	dma_addr_t exchange_addr;
	u16 ramfb; /* selector of its file */
	void *off;
	dma_addr_t off_addr;

	struct faux_device *importer; /* iommu=1 */

	struct pci_dev *pci; /* the second output's */
	void __iomem *regs;
	void __iomem *vram;
};

struct ramfb_config {
	__be64 addr;
	__be32 fourcc;
	__be32 flags;
	__be32 width;
	__be32 height;
	__be32 stride;
} __packed;

/* What QEMU reads and writes by DMA for fw_cfg */
struct rig_exchange {
	struct fw_cfg_dma_access access;
	union {
		__be32 count;
		struct fw_cfg_file file;
		struct ramfb_config ramfb;
	};
};

static struct rig *to_rig(struct drm_device *drm)
{
	return container_of(drm, struct rig, drm);
}

static struct rig_bo *to_rig_bo(struct drm_gem_object *obj)
{
	return container_of(to_drm_gem_dma_obj(obj), struct rig_bo, dma);
}

static void count(unsigned long long *counter, size_t n)
{
	static DEFINE_SPINLOCK(lock);

	guard(spinlock)(&lock);
	*counter += n;
}

/* ---- fw_cfg and ramfb ---- */

/* QEMU is done when the register has been written; the loop is for good measure. */
static int rig_fw_cfg(struct rig *rig, u32 control, size_t length)
{
	struct rig_exchange *ex = rig->exchange;
	unsigned int tries = 1000;
	u32 left;

	ex->access.length = cpu_to_be32(length);
	ex->access.address = cpu_to_be64(rig->exchange_addr + offsetof(struct rig_exchange, file));
	ex->access.control = cpu_to_be32(control);
	iowrite32be(upper_32_bits(rig->exchange_addr), rig->fw_cfg + FW_CFG_DMA_REG);
	iowrite32be(lower_32_bits(rig->exchange_addr), rig->fw_cfg + FW_CFG_DMA_REG + 4);
	do {
		left = be32_to_cpu(READ_ONCE(ex->access.control));
	} while (left & ~FW_CFG_DMA_CTL_ERROR && --tries);
	dma_rmb();
	return left ? -EIO : 0;
}

static int rig_find_ramfb(struct rig *rig)
{
	struct rig_exchange *ex = rig->exchange;
	u32 i, n;
	int ret;

	ret = rig_fw_cfg(rig, FW_CFG_FILE_DIR << 16 | FW_CFG_DMA_CTL_SELECT | FW_CFG_DMA_CTL_READ, sizeof(ex->count));
	n = be32_to_cpu(ex->count);
	for (i = 0; !ret && i < n; i++) {
		ret = rig_fw_cfg(rig, FW_CFG_DMA_CTL_READ, sizeof(ex->file));
		if (!ret && !strncmp(ex->file.name, "etc/ramfb", sizeof(ex->file.name))) {
			rig->ramfb = be16_to_cpu(ex->file.select);
			return 0;
		}
	}
	return ret ?: -ENODEV;
}

static void rig_ramfb_show(struct rig *rig, dma_addr_t addr, u32 fourcc, u32 width, u32 height, u32 stride)
{
	guard(mutex)(&rig->lock);
	rig->exchange->ramfb = (struct ramfb_config) {
		.addr = cpu_to_be64(addr),
		.fourcc = cpu_to_be32(fourcc),
		.width = cpu_to_be32(width),
		.height = cpu_to_be32(height),
		.stride = cpu_to_be32(stride),
	};
	if (rig_fw_cfg(rig, rig->ramfb << 16 | FW_CFG_DMA_CTL_SELECT | FW_CFG_DMA_CTL_WRITE,
		       sizeof(rig->exchange->ramfb)))
		drm_err_once(&rig->drm, "ramfb refused its configuration\n");
}

/* ---- the second output's hardware ---- */

static void rig_dispi(struct rig *rig, unsigned int index, u16 value)
{
	writew(value, rig->regs + DISPI(index));
}

static void rig_bochs_show(struct rig *rig, u32 width, u32 height, u32 bpp, u32 y)
{
	if (readw(rig->regs + DISPI(DISPI_ENABLE)) != DISPI_ON || readw(rig->regs + DISPI(DISPI_XRES)) != width ||
	    readw(rig->regs + DISPI(DISPI_YRES)) != height || readw(rig->regs + DISPI(DISPI_BPP)) != bpp) {
		rig_dispi(rig, DISPI_ENABLE, 0);
		rig_dispi(rig, DISPI_BPP, bpp);
		rig_dispi(rig, DISPI_XRES, width);
		rig_dispi(rig, DISPI_YRES, height);
		rig_dispi(rig, DISPI_WIDTH, width);
		rig_dispi(rig, DISPI_ENABLE, DISPI_ON);
	}
	rig_dispi(rig, DISPI_Y_OFFSET, y);
}

static void rig_head_off(struct rig *rig, struct rig_head *head)
{
	if (head == &rig->heads[1])
		rig_dispi(rig, DISPI_ENABLE, 0);
	else
		rig_ramfb_show(rig, rig->off_addr, DRM_FORMAT_XRGB8888, RIG_OFF_SIZE, RIG_OFF_SIZE, RIG_OFF_SIZE * 4);
}

/* ---- outputs that copy ---- */

/* Copies what is at an address of a buffer, grey where the buffer has no memory at that address. */
static void rig_copy_bytes(struct iosys_map *to, size_t to_offset, struct rig_bo *bo, size_t from, size_t length)
{
	while (length) {
		size_t n = min(length, PAGE_SIZE - offset_in_page(from));
		struct page *page = bo->pages ? bo->pages[from / PAGE_SIZE] : NULL;

		if (bo->dma.vaddr) {
			n = length;
			iosys_map_memcpy_to(to, to_offset, bo->dma.vaddr + from, n);
		} else if (page) {
			iosys_map_memcpy_to(to, to_offset, page_address(page) + offset_in_page(from), n);
		} else {
			iosys_map_memset(to, to_offset, 0x55, n);
			count(&faults, n);
		}
		to_offset += n;
		from += n;
		length -= n;
	}
}

static void rig_copy(struct rig *rig, struct rig_head *head, const struct rig_view *view)
{
	struct rig_bo *bo = to_rig_bo(drm_gem_fb_get_obj(view->fb, 0));
	u32 cpp = view->fb->format->cpp[0], pitch = view->width * cpp;
	size_t frame = head->back * (size_t)pitch * view->height;
	u32 y;

	for (y = 0; y < view->height; y++)
		rig_copy_bytes(&head->frames, frame + y * (size_t)pitch, bo,
			       view->offset + y * (size_t)view->fb->pitches[0], pitch);
	count(&copied, pitch * (size_t)view->height);
	if (head == &rig->heads[1])
		rig_bochs_show(rig, view->width, view->height, cpp * 8, head->back * view->height);
	else
		rig_ramfb_show(rig, head->frames_addr + frame, view->fb->format->format, view->width, view->height,
			       pitch);
	head->back ^= 1;
}

/*
 * A vblank: here and not in the timer, so that no event says that a frame buffer is free while it is still being
 * copied. First the event, then the view: whatever has got its event is what is looked at.
 */
static void rig_head_work(struct work_struct *work)
{
	struct rig_head *head = container_of(work, struct rig_head, work);
	struct rig_view view;
	bool flipped;

	drm_crtc_handle_vblank(&head->crtc);
	scoped_guard(spinlock, &head->lock) {
		view = head->view;
		flipped = head->flipped;
		head->flipped = false;
		if (view.fb)
			drm_framebuffer_get(view.fb);
	}
	if (!view.fb)
		return;
	if (flipped || ++head->age >= RIG_REFRESH) {
		head->age = 0;
		rig_copy(to_rig(head->crtc.dev), head, &view);
	}
	drm_framebuffer_put(view.fb);
}

static bool rig_handle_vblank_timeout(struct drm_crtc *crtc)
{
	struct rig_head *head = container_of(crtc, struct rig_head, crtc);

	if (!head->copies)
		return drm_crtc_handle_vblank(crtc);
	queue_work(system_dfl_wq, &head->work);
	return true;
}

static void rig_set_view(struct rig_head *head, struct rig_view view)
{
	struct drm_framebuffer *old;

	if (view.fb)
		drm_framebuffer_get(view.fb);
	scoped_guard(spinlock, &head->lock) {
		old = head->view.fb;
		head->view = view;
		head->flipped = true;
	}
	if (old)
		drm_framebuffer_put(old);
}

/* ---- KMS ---- */

static int rig_plane_atomic_check(struct drm_plane *plane, struct drm_atomic_commit *state)
{
	struct drm_plane_state *new = drm_atomic_get_new_plane_state(state, plane);
	struct drm_crtc_state *crtc_state = NULL;

	if (new->crtc)
		crtc_state = drm_atomic_get_new_crtc_state(state, new->crtc);
	return drm_atomic_helper_check_plane_state(new, crtc_state, DRM_PLANE_NO_SCALING, DRM_PLANE_NO_SCALING,
						   false, true);
}

static void rig_plane_atomic_update(struct drm_plane *plane, struct drm_atomic_commit *state)
{
	struct rig_head *head = container_of(plane, struct rig_head, plane);
	struct drm_plane_state *new = drm_atomic_get_new_plane_state(state, plane);
	const struct drm_display_mode *mode = &head->crtc.state->mode;
	struct drm_framebuffer *fb = new->fb;
	struct rig_view view = { fb, 0, mode->hdisplay, mode->vdisplay };

	if (!fb || !head->crtc.state->active)
		return;
	view.offset = fb->offsets[0] + (new->src_y >> 16) * fb->pitches[0] + (new->src_x >> 16) * fb->format->cpp[0];
	if (head->copies)
		rig_set_view(head, view);
	else
		rig_ramfb_show(to_rig(plane->dev), drm_fb_dma_get_gem_obj(fb, 0)->dma_addr + view.offset,
			       fb->format->format, view.width, view.height, fb->pitches[0]);
}

static const struct drm_plane_helper_funcs rig_plane_helper_funcs = {
	.atomic_check = rig_plane_atomic_check,
	.atomic_update = rig_plane_atomic_update,
};

static const struct drm_plane_funcs rig_plane_funcs = {
	.update_plane = drm_atomic_helper_update_plane,
	.disable_plane = drm_atomic_helper_disable_plane,
	.destroy = drm_plane_cleanup,
	.reset = drm_atomic_helper_plane_reset,
	.atomic_duplicate_state = drm_atomic_helper_plane_duplicate_state,
	.atomic_destroy_state = drm_atomic_helper_plane_destroy_state,
};

static void rig_crtc_atomic_flush(struct drm_crtc *crtc, struct drm_atomic_commit *state)
{
	count(&commits, 1);
	drm_crtc_vblank_atomic_flush(crtc, state);
}

static void rig_crtc_atomic_enable(struct drm_crtc *crtc, struct drm_atomic_commit *state)
{
	struct rig_head *head = container_of(crtc, struct rig_head, crtc);

	count(&modesets, 1);
	drm_crtc_vblank_on(crtc);
	if (head->copies)
		drm_crtc_vblank_get(crtc); /* each frame is read, whether or not somebody waits for it */
}

static void rig_crtc_atomic_disable(struct drm_crtc *crtc, struct drm_atomic_commit *state)
{
	struct rig_head *head = container_of(crtc, struct rig_head, crtc);

	if (head->copies)
		drm_crtc_vblank_put(crtc);
	drm_crtc_vblank_off(crtc);
	cancel_work_sync(&head->work);
	rig_set_view(head, (struct rig_view) {});
	rig_head_off(to_rig(crtc->dev), head);
}

static const struct drm_crtc_helper_funcs rig_crtc_helper_funcs = {
	.atomic_check = drm_crtc_helper_atomic_check,
	.atomic_flush = rig_crtc_atomic_flush,
	.atomic_enable = rig_crtc_atomic_enable,
	.atomic_disable = rig_crtc_atomic_disable,
	.handle_vblank_timeout = rig_handle_vblank_timeout,
};

static const struct drm_crtc_funcs rig_crtc_funcs = {
	.reset = drm_atomic_helper_crtc_reset,
	.destroy = drm_crtc_cleanup,
	.set_config = drm_atomic_helper_set_config,
	.page_flip = drm_atomic_helper_page_flip,
	.atomic_duplicate_state = drm_atomic_helper_crtc_duplicate_state,
	.atomic_destroy_state = drm_atomic_helper_crtc_destroy_state,
	DRM_CRTC_VBLANK_TIMER_FUNCS,
};

static int rig_connector_get_modes(struct drm_connector *connector)
{
	int n = drm_add_modes_noedid(connector, 1920, 1080);

	drm_set_preferred_mode(connector, 1280, 720);
	return n;
}

static const struct drm_connector_helper_funcs rig_connector_helper_funcs = {
	.get_modes = rig_connector_get_modes,
};

static const struct drm_connector_funcs rig_connector_funcs = {
	.fill_modes = drm_helper_probe_single_connector_modes,
	.destroy = drm_connector_cleanup,
	.reset = drm_atomic_helper_connector_reset,
	.atomic_duplicate_state = drm_atomic_helper_connector_duplicate_state,
	.atomic_destroy_state = drm_atomic_helper_connector_destroy_state,
};

static const struct drm_encoder_funcs rig_encoder_funcs = {
	.destroy = drm_encoder_cleanup,
};

static enum drm_mode_status rig_mode_valid(struct drm_device *drm, const struct drm_display_mode *mode)
{
	return mode->hdisplay * mode->vdisplay * 4 <= RIG_FRAME_SIZE ? MODE_OK : MODE_MEM;
}

static struct drm_framebuffer *rig_fb_create(struct drm_device *drm, struct drm_file *file,
					     const struct drm_format_info *info,
					     const struct drm_mode_fb_cmd2 *cmd)
{
	if (cmd->pitches[0] % pitch_align)
		return ERR_PTR(-EINVAL);
	return drm_gem_fb_create(drm, file, info, cmd);
}

static const struct drm_mode_config_funcs rig_mode_config_funcs = {
	.fb_create = rig_fb_create,
	.mode_valid = rig_mode_valid,
	.atomic_check = drm_atomic_helper_check,
	.atomic_commit = drm_atomic_helper_commit,
};

static int rig_head_init(struct rig *rig, struct rig_head *head)
{
	/* QEMU 7.2 scans no 16 bit format from ramfb. */
	static const u32 formats[] = { DRM_FORMAT_XRGB8888, DRM_FORMAT_ARGB8888, DRM_FORMAT_RGB565 };
	bool first = head == &rig->heads[0];
	struct drm_device *drm = &rig->drm;
	int ret;

	spin_lock_init(&head->lock);
	INIT_WORK(&head->work, rig_head_work);

	ret = drm_universal_plane_init(drm, &head->plane, 0, &rig_plane_funcs, formats,
				       ARRAY_SIZE(formats) - first, NULL, DRM_PLANE_TYPE_PRIMARY, NULL);
	if (ret)
		return ret;
	drm_plane_helper_add(&head->plane, &rig_plane_helper_funcs);

	ret = drm_crtc_init_with_planes(drm, &head->crtc, &head->plane, NULL, &rig_crtc_funcs, NULL);
	if (ret)
		return ret;
	drm_crtc_helper_add(&head->crtc, &rig_crtc_helper_funcs);

	ret = drm_encoder_init(drm, &head->encoder, &rig_encoder_funcs, DRM_MODE_ENCODER_TMDS, NULL);
	if (ret)
		return ret;
	head->encoder.possible_crtcs = drm_crtc_mask(&head->crtc);

	ret = drm_connector_init(drm, &head->connector, &rig_connector_funcs, DRM_MODE_CONNECTOR_HDMIA);
	if (ret)
		return ret;
	drm_connector_helper_add(&head->connector, &rig_connector_helper_funcs);
	return drm_connector_attach_encoder(&head->connector, &head->encoder);
}

/* ---- buffers ---- */

static void rig_bo_free(struct drm_gem_object *obj)
{
	struct rig_bo *bo = to_rig_bo(obj);

	kvfree(bo->pages);
	drm_gem_dma_free(&bo->dma);
}

static const struct drm_gem_object_funcs rig_bo_funcs = {
	.free = rig_bo_free,
	.print_info = drm_gem_dma_object_print_info,
	.get_sg_table = drm_gem_dma_object_get_sg_table,
	.vmap = drm_gem_dma_object_vmap,
	.mmap = drm_gem_dma_object_mmap,
	.vm_ops = &drm_gem_dma_vm_ops,
};

static struct drm_gem_object *rig_gem_create_object(struct drm_device *drm, size_t size)
{
	struct rig_bo *bo = kzalloc_obj(*bo);

	if (!bo)
		return ERR_PTR(-ENOMEM);
	bo->dma.base.funcs = &rig_bo_funcs;
	return &bo->dma.base;
}

static int rig_dumb_create(struct drm_file *file, struct drm_device *drm, struct drm_mode_create_dumb *args)
{
	int ret = drm_mode_size_dumb(drm, args, pitch_align, 0);

	return ret ?: drm_gem_dma_dumb_create_internal(file, drm, args);
}

/*
 * The page that the device sees at an address, if the table says that there is one. A machine address of the kernel's
 * own memory is that memory, also where it isn't the table's page: swiotlb's copy. Else the table knows the page.
 */
static struct page *rig_page_at(struct sg_table *sgt, dma_addr_t addr)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		size_t offset = addr - sg_dma_address(sg);

		if (addr < sg_dma_address(sg) || offset >= sg_dma_len(sg))
			continue;
		if (!iommu && pfn_is_map_memory(PHYS_PFN(addr)))
			return phys_to_page(addr);
		/* No DMA operations here merge entries, so that each has its own pages. */
		return sg_page(sg) + (sg->offset + offset) / PAGE_SIZE;
	}
	return NULL;
}

static struct drm_gem_object *rig_import_sg_table(struct drm_device *drm, struct dma_buf_attachment *attach,
						  struct sg_table *sgt)
{
	dma_addr_t addr = sg_dma_address(sgt->sgl);
	size_t i, n = attach->dmabuf->size / PAGE_SIZE;
	struct page **pages = NULL;
	struct drm_gem_object *obj;

	if (contiguous) {
		obj = drm_gem_dma_prime_import_sg_table(drm, attach, sgt);
		if (IS_ERR(obj))
			return obj;
	} else {
		obj = rig_gem_create_object(drm, attach->dmabuf->size);
		if (IS_ERR(obj))
			return obj;
		drm_gem_private_object_init(drm, obj, attach->dmabuf->size);
		to_rig_bo(obj)->dma.dma_addr = addr;
	}

	if (iommu || *head2) {
		pages = kvcalloc(n, sizeof(*pages), GFP_KERNEL);
		if (!pages) {
			drm_gem_object_put(obj);
			return ERR_PTR(-ENOMEM);
		}
		for (i = 0; i < n; i++)
			pages[i] = rig_page_at(sgt, addr + i * PAGE_SIZE);
	}
	to_rig_bo(obj)->pages = pages;
	to_rig_bo(obj)->dma.sgt = sgt;
	count(&imports, 1);
	return obj;
}

DEFINE_DRM_GEM_DMA_FOPS(rig_fops);

static struct drm_driver rig_drm_driver = {
	.driver_features = DRIVER_MODESET | DRIVER_ATOMIC | DRIVER_GEM,
	.fops = &rig_fops,
	.gem_create_object = rig_gem_create_object,
	.dumb_create = rig_dumb_create,
	.gem_prime_import_sg_table = rig_import_sg_table,
	.desc = "Display controller of the test rig",
	.major = 1,
};

/* ---- the device ---- */

static void rig_destroy_importer(void *importer)
{
	faux_device_destroy(importer);
}

/* A device that no firmware describes: nobody gives it DMA operations, so that it has the direct mapping. */
static int rig_init_iommu(struct rig *rig, struct device *dev)
{
	struct rig_head *head = &rig->heads[0];
	void *frames;
	int ret;

	rig->importer = faux_device_create("rig-display-iommu", dev, NULL);
	if (!rig->importer)
		return -ENODEV;
	ret = devm_add_action_or_reset(dev, rig_destroy_importer, rig->importer);
	if (ret)
		return ret;
	ret = dma_coerce_mask_and_coherent(&rig->importer->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	drm_dev_set_dma_dev(&rig->drm, &rig->importer->dev);

	frames = dmam_alloc_coherent(dev, 2 * RIG_FRAME_SIZE, &head->frames_addr, GFP_KERNEL);
	if (!frames)
		return -ENOMEM;
	iosys_map_set_vaddr(&head->frames, frames);
	head->copies = true;
	return 0;
}

static void rig_release_pci(void *data)
{
	struct rig *rig = data;

	if (rig->regs)
		pci_iounmap(rig->pci, rig->regs);
	if (rig->vram)
		pci_iounmap(rig->pci, rig->vram);
	pci_release_regions(rig->pci);
	pci_disable_device(rig->pci);
	pci_dev_put(rig->pci);
}

/* Taken without binding to it: its regions are requested, which keeps bochs-drm away. */
static int rig_init_head2(struct rig *rig, struct device *dev)
{
	struct rig_head *head = &rig->heads[1];
	unsigned int domain, bus, slot, function;
	int ret;

	if (sscanf(head2, "%x:%x:%x.%x", &domain, &bus, &slot, &function) != 4)
		return -EINVAL;
	rig->pci = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, function));
	if (!rig->pci)
		return -ENODEV;
	ret = -ENODEV;
	if (rig->pci->vendor != 0x1234 || rig->pci->device != 0x1111)
		goto put;
	ret = pci_enable_device(rig->pci);
	if (ret)
		goto put;
	ret = pci_request_regions(rig->pci, "rig_display");
	if (ret)
		goto disable;
	rig->vram = pci_iomap_wc(rig->pci, 0, 0);
	rig->regs = pci_iomap(rig->pci, 2, 0);
	ret = devm_add_action_or_reset(dev, rig_release_pci, rig);
	if (ret)
		return ret;
	if (!rig->vram || !rig->regs || pci_resource_len(rig->pci, 0) < 2 * RIG_FRAME_SIZE)
		return -ENOMEM;
	iosys_map_set_vaddr_iomem(&head->frames, rig->vram);
	head->copies = true;
	return 0;

disable:
	pci_disable_device(rig->pci);
put:
	pci_dev_put(rig->pci);
	return ret;
}

/* The property that tells a rcar-du with VSP. It stays allocated: a node keeps its properties, also removed ones. */
static int rig_set_vsps(struct device_node *node)
{
	struct property *prop = of_find_property(node, "renesas,vsps", NULL);

	if (vsp == !!prop)
		return 0;
	if (prop)
		return of_remove_property(node, prop);
	prop = kzalloc_obj(*prop);
	if (!prop)
		return -ENOMEM;
	prop->name = kstrdup("renesas,vsps", GFP_KERNEL);
	prop->length = 2 * sizeof(__be32);
	prop->value = kzalloc(prop->length, GFP_KERNEL);
	if (!prop->name || !prop->value)
		return -ENOMEM;
	return of_add_property(node, prop);
}

static int rig_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct drm_device *drm;
	struct rig *rig;
	int ret;

	rig = devm_drm_dev_alloc(dev, &rig_drm_driver, struct rig, drm);
	if (IS_ERR(rig))
		return PTR_ERR(rig);
	drm = &rig->drm;
	platform_set_drvdata(pdev, rig);
	mutex_init(&rig->lock);

	ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	rig->fw_cfg = devm_platform_ioremap_resource(pdev, 0);
	if (IS_ERR(rig->fw_cfg))
		return PTR_ERR(rig->fw_cfg);
	rig->exchange = dmam_alloc_coherent(dev, sizeof(*rig->exchange), &rig->exchange_addr, GFP_KERNEL);
	rig->off = dmam_alloc_coherent(dev, RIG_OFF_SIZE * RIG_OFF_SIZE * 4, &rig->off_addr, GFP_KERNEL);
	if (!rig->exchange || !rig->off)
		return -ENOMEM;
	ret = rig_find_ramfb(rig);
	if (ret)
		return dev_err_probe(dev, ret, "QEMU has no ramfb\n");
	ret = rig_set_vsps(dev->of_node);
	if (ret)
		return ret;
	if (iommu) {
		ret = rig_init_iommu(rig, dev);
		if (ret)
			return ret;
	}
	if (*head2) {
		ret = rig_init_head2(rig, dev);
		if (ret)
			return dev_err_probe(dev, ret, "no free bochs-display at %s\n", head2);
	}

	ret = drmm_mode_config_init(drm);
	if (ret)
		return ret;
	drm->mode_config.min_width = 16;
	drm->mode_config.min_height = 16;
	drm->mode_config.max_width = 4096;
	drm->mode_config.max_height = 4096;
	drm->mode_config.funcs = &rig_mode_config_funcs;
	ret = rig_head_init(rig, &rig->heads[0]);
	if (!ret && *head2)
		ret = rig_head_init(rig, &rig->heads[1]);
	if (ret)
		return ret;
	ret = drm_vblank_init(drm, *head2 ? 2 : 1);
	if (ret)
		return ret;
	drm_mode_config_reset(drm);
	return drm_dev_register(drm, 0);
}

static void rig_remove(struct platform_device *pdev)
{
	struct rig *rig = platform_get_drvdata(pdev);

	drm_dev_unregister(&rig->drm);
	drm_atomic_helper_shutdown(&rig->drm);
}

static const struct of_device_id rig_of_match[] = {
	{ .compatible = "qemu,fw-cfg-mmio" },
	{}
};

static struct platform_driver rig_platform_driver = {
	.probe = rig_probe,
	.remove = rig_remove,
	.driver = {
		.of_match_table = rig_of_match,
		.suppress_bind_attrs = true, /* it goes with the module, when nobody has it open */
	},
};

static int __init rig_init(void)
{
	if (!pitch_align)
		return -EINVAL;
	rig_drm_driver.name = name;
	rig_platform_driver.driver.name = name;
	return platform_driver_register(&rig_platform_driver);
}
module_init(rig_init);

static void __exit rig_exit(void)
{
	platform_driver_unregister(&rig_platform_driver);
}
module_exit(rig_exit);

MODULE_DESCRIPTION("Display controller of the test rig, on QEMU's ramfb");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
