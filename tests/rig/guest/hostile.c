/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A hostile guest's hands: pages granted to dom0, event channels, XenStore. The attacks are the host's
 * (tests/hostile/); here is only what they are made of. No frontend's driver is bound to the device then.
 *
 *   grant N [ro]              N pages, zeroed: "PAGE REF REF ..."
 *   end PAGE                  taken back, whoever has it mapped
 *   poke PAGE OFFSET HEX      4 bytes are one store
 *   peek PAGE OFFSET LENGTH
 *   series PAGE OFFSET FIRST COUNT STEP   u32s
 *   port                      a new event channel for dom0 to bind to
 *   kick PORT COUNT
 *   race PAGE OFFSET ONE OTHER MS         in the background: the u32 is ONE and OTHER in turns
 *   flood PAGE PORT MS        all 32 slots of a ring again and again: "STATUS:COUNT ..."
 *   reset                     races over, pages and ports taken back
 *   xs-read PATH, xs-write PATH HEX, xs-rm PATH, xs-owner PATH
 *   xs-storm PATH MS HEX ...  the values in turns ("-": empty): how many were written
 */
#include "draw.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint16_t domid_t; /* the next header needs it and does not say so */
#include <xen/evtchn.h>
#include <xen/gntalloc.h>

#define PAGES 2048
#define PORTS 256
#define RACES 4
#define PAGE 4096
#define SLOT 64
#define RING_SLOTS 32
#define REQ_PROD 0
#define RSP_PROD 2
#define STATUSES 256 /* of either sign */
#define ANSWER_US 5000000
#define VALUES 16

static struct page {
    uint8_t *bytes;
    uint64_t index;
} pages[PAGES];
static int pages_used, ports[PORTS], ports_used, races_used;
static int gntalloc = -1, evtchn = -1, xenbus = -1;

static int open_device(int *fd, const char *path)
{
    if (*fd < 0 && (*fd = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return fail_errno(path);
    return 0;
}

static struct page *find_page(const char **arguments)
{
    char *rest;
    long number = strtol(*arguments, &rest, 10);
    if (rest == *arguments || number < 0 || number >= pages_used || !pages[number].bytes) {
        fail("no page %s", *arguments);
        return NULL;
    }
    *arguments = rest;
    return &pages[number];
}

/* "-" is nothing. The length, or -1. */
static int unhex(const char *text, uint8_t *bytes, int room)
{
    int length = 0;
    if (text[0] == '-')
        return 0;
    for (; length < room && sscanf(text + 2 * length, "%2hhx", bytes + length) == 1; length++)
        if (!text[2 * length + 1])
            return fail("odd digits");
    return length;
}

static uint32_t load(const struct page *page, int word)
{
    return __atomic_load_n((uint32_t *)page->bytes + word, __ATOMIC_ACQUIRE);
}

static void store(const struct page *page, int word, uint32_t value)
{
    __atomic_store_n((uint32_t *)page->bytes + word, value, __ATOMIC_SEQ_CST);
}

/* Pages */

static int grant(const char *arguments)
{
    int count = atoi(arguments), readonly = strstr(arguments, "ro") != NULL;
    int length = snprintf(answer, sizeof answer, "%d", pages_used);
    if (open_device(&gntalloc, "/dev/xen/gntalloc") < 0)
        return -1;
    if (count < 1 || count > 32 || pages_used + count > PAGES)
        return fail("%d pages", count);
    for (int number = 0; number < count; number++) {
        struct ioctl_gntalloc_alloc_gref request = {
            .domid = 0, .flags = readonly ? 0 : GNTALLOC_FLAG_WRITABLE, .count = 1};
        if (control(gntalloc, IOCTL_GNTALLOC_ALLOC_GREF, &request) < 0)
            return fail_errno("ALLOC_GREF");
        void *bytes = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gntalloc, request.index);
        /* What is granted for reading can be mapped only so. */
        if (bytes == MAP_FAILED)
            bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, gntalloc, request.index);
        if (bytes == MAP_FAILED)
            return fail_errno("mmap of a grant");
        pages[pages_used++] = (struct page){bytes, request.index};
        length += snprintf(answer + length, sizeof answer - length, " %u", request.gref_ids[0]);
    }
    return 0;
}

static void end(struct page *page)
{
    struct ioctl_gntalloc_dealloc_gref request = {.index = page->index, .count = 1};
    munmap(page->bytes, PAGE);
    control(gntalloc, IOCTL_GNTALLOC_DEALLOC_GREF, &request);
    page->bytes = NULL;
}

static int poke(struct page *page, const char *arguments)
{
    static uint8_t bytes[PAGE];
    int offset = 0, at = 0, length;
    if (sscanf(arguments, "%d %n", &offset, &at) < 1 || offset < 0)
        return fail("poke %s", arguments);
    length = unhex(arguments + at, bytes, PAGE);
    if (length < 0 || offset + length > PAGE)
        return fail("poke %d bytes at %d", length, offset);
    if (length == 4 && offset % 4 == 0) {
        uint32_t value;
        memcpy(&value, bytes, 4);
        store(page, offset / 4, value);
    } else {
        memcpy(page->bytes + offset, bytes, length);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    return 0;
}

static int peek(struct page *page, const char *arguments)
{
    int offset = 0, length = 0;
    if (sscanf(arguments, "%d %d", &offset, &length) < 2 || offset < 0 || length < 0 ||
        offset + length > PAGE || 2 * length >= (int)sizeof answer)
        return fail("peek %s", arguments);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (int number = 0; number < length; number++)
        sprintf(answer + 2 * number, "%02x", page->bytes[offset + number]);
    return 0;
}

static int series(struct page *page, const char *arguments)
{
    unsigned offset, first, count, step;
    if (sscanf(arguments, "%u %u %u %u", &offset, &first, &count, &step) < 4 || offset % 4 ||
        count > PAGE || offset + 4 * count > PAGE)
        return fail("series %s", arguments);
    for (unsigned number = 0; number < count; number++)
        store(page, offset / 4 + number, first + number * step);
    return 0;
}

/* Event channels */

static int port(void)
{
    struct ioctl_evtchn_bind_unbound_port request = {.remote_domain = 0};
    if (open_device(&evtchn, "/dev/xen/evtchn") < 0)
        return -1;
    if (ports_used == PORTS)
        return fail("%d ports", PORTS);
    int number = ioctl(evtchn, IOCTL_EVTCHN_BIND_UNBOUND_PORT, &request);
    if (number < 0)
        return fail_errno("BIND_UNBOUND_PORT");
    ports[ports_used++] = number;
    snprintf(answer, sizeof answer, "%d", number);
    return 0;
}

static int notify(unsigned number)
{
    struct ioctl_evtchn_notify request = {.port = number};
    return control(evtchn, IOCTL_EVTCHN_NOTIFY, &request) < 0 ? fail_errno("NOTIFY") : 0;
}

static int kick(const char *arguments)
{
    unsigned number = 0, count = 0;
    if (sscanf(arguments, "%u %u", &number, &count) < 2)
        return fail("kick %s", arguments);
    while (count--)
        if (notify(number) < 0)
            return -1;
    return 0;
}

/* Races and floods */

static struct race {
    pthread_t thread;
    struct page *page;
    int word;
    uint32_t one, other;
    int64_t deadline;
} races[RACES];

static void *run_race(void *argument)
{
    struct race *race = argument;
    while (microseconds() < race->deadline)
        for (int turn = 0; turn < 1000; turn++) {
            store(race->page, race->word, race->one);
            store(race->page, race->word, race->other);
        }
    return NULL;
}

static int start_race(struct page *page, const char *arguments)
{
    unsigned offset;
    long milliseconds;
    struct race *race = &races[races_used];
    if (races_used == RACES ||
        sscanf(arguments, "%u %u %u %ld", &offset, &race->one, &race->other, &milliseconds) < 4)
        return fail("race %s", arguments);
    race->page = page;
    race->word = offset / 4;
    race->deadline = microseconds() + 1000 * milliseconds;
    if ((errno = pthread_create(&race->thread, NULL, run_race, race)))
        return fail_errno("pthread_create");
    races_used++;
    return 0;
}

static int report_statuses(const long *seen)
{
    int length = 0;
    for (int status = -STATUSES; status < STATUSES; status++)
        if (seen[status + STATUSES])
            length += snprintf(answer + length, sizeof answer - length, "%d:%ld ", status,
                               seen[status + STATUSES]);
    return 0;
}

static int flood(struct page *ring, const char *arguments)
{
    static uint8_t slots[RING_SLOTS * SLOT];
    static long seen[2 * STATUSES + 1];
    unsigned number = 0;
    long milliseconds = 0;
    if (sscanf(arguments, "%u %ld", &number, &milliseconds) < 2)
        return fail("flood %s", arguments);
    int64_t deadline = microseconds() + 1000 * milliseconds;
    uint32_t done = load(ring, RSP_PROD);
    memcpy(slots, ring->bytes + SLOT, sizeof slots);
    memset(seen, 0, sizeof seen);
    while (microseconds() < deadline) {
        memcpy(ring->bytes + SLOT, slots, sizeof slots);
        done += RING_SLOTS;
        store(ring, REQ_PROD, done);
        if (notify(number) < 0)
            return -1;
        for (int64_t late = microseconds() + ANSWER_US; load(ring, RSP_PROD) != done;) {
            if (microseconds() > late)
                return report_statuses(seen);
            usleep(200);
        }
        for (int slot = 0; slot < RING_SLOTS; slot++) {
            int32_t status;
            memcpy(&status, ring->bytes + SLOT + slot * SLOT + 4, sizeof status);
            if (status < -STATUSES || status > STATUSES)
                status = STATUSES;
            seen[status + STATUSES]++;
        }
    }
    return report_statuses(seen);
}

static int reset(void)
{
    while (races_used)
        pthread_join(races[--races_used].thread, NULL);
    for (int number = 0; number < pages_used; number++)
        if (pages[number].bytes)
            end(&pages[number]);
    pages_used = 0;
    while (ports_used) {
        struct ioctl_evtchn_unbind request = {.port = ports[--ports_used]};
        control(evtchn, IOCTL_EVTCHN_UNBIND, &request);
    }
    return 0;
}

/* XenStore: xen/io/xs_wire.h, over the kernel's connection */

enum { XS_READ = 2, XS_GET_PERMS = 3, XS_WRITE = 11, XS_RM = 13, XS_ERROR = 16 };
struct message {
    uint32_t type, req_id, tx_id, len;
};

static int read_fully(void *bytes, size_t size)
{
    for (size_t got = 0; got < size;) {
        ssize_t part = read(xenbus, (char *)bytes + got, size - got);
        if (part <= 0)
            return fail_errno("read of /dev/xen/xenbus");
        got += part;
    }
    return 0;
}

/* `reply` gets at most a page, ended by 0. A refusal is its word: "EACCES". */
static int ask_store(uint32_t type, const char *path, const uint8_t *value, int length, char *reply)
{
    static uint8_t packet[sizeof(struct message) + 2 * PAGE];
    struct message header = {.type = type, .len = strlen(path) + 1 + length};
    if (open_device(&xenbus, "/dev/xen/xenbus") < 0)
        return -1;
    if (header.len > PAGE)
        return fail("E2BIG");
    memcpy(packet, &header, sizeof header);
    strcpy((char *)packet + sizeof header, path);
    memcpy(packet + sizeof header + strlen(path) + 1, value, length);
    if (write(xenbus, packet, sizeof header + header.len) < 0)
        return fail_errno("write to /dev/xen/xenbus");
    if (read_fully(&header, sizeof header) < 0 || header.len > PAGE ||
        read_fully(reply, header.len) < 0)
        return -1;
    reply[header.len] = 0;
    return header.type == XS_ERROR ? fail("%s", reply) : 0;
}

static int xs_storm(const char *arguments)
{
    static char path[256], hex[VALUES][512], reply[PAGE + 1];
    static uint8_t values[VALUES][256];
    int lengths[VALUES], count = 0, at = 0, used = 0;
    long milliseconds, written = 0;
    if (sscanf(arguments, "%255s %ld %n", path, &milliseconds, &at) < 2)
        return fail("xs-storm %s", arguments);
    while (count < VALUES && sscanf(arguments + at, "%511s %n", hex[count], &used) == 1) {
        if ((lengths[count] = unhex(hex[count], values[count], sizeof values[count])) < 0)
            return -1;
        at += used;
        count++;
    }
    if (!count)
        return fail("xs-storm of nothing");
    for (int64_t deadline = microseconds() + 1000 * milliseconds; microseconds() < deadline;
         written++)
        if (ask_store(XS_WRITE, path, values[written % count], lengths[written % count], reply) < 0)
            return -1;
    snprintf(answer, sizeof answer, "%ld", written);
    return 0;
}

static int xs_command(const char *command, const char *arguments)
{
    static char path[256], hex[2 * PAGE + 1], reply[PAGE + 1];
    static uint8_t value[PAGE];
    int length = 0;
    hex[0] = 0;
    if (!strcmp(command, "storm"))
        return xs_storm(arguments);
    if (sscanf(arguments, "%255s %8191s", path, hex) < 1 ||
        (hex[0] && (length = unhex(hex, value, sizeof value)) < 0))
        return fail("xs %s", arguments);
    if (!strcmp(command, "write"))
        return ask_store(XS_WRITE, path, value, length, reply);
    if (!strcmp(command, "rm"))
        return ask_store(XS_RM, path, value, 0, reply);
    if (ask_store(strcmp(command, "owner") ? XS_READ : XS_GET_PERMS, path, value, 0, reply) < 0)
        return -1;
    snprintf(answer, sizeof answer, "%.500s", reply);
    return 0;
}

int hostile_command(const char *command, const char *arguments)
{
    struct page *page;
    if (!strncmp(command, "xs-", 3))
        return xs_command(command + 3, arguments);
    if (!strcmp(command, "grant"))
        return grant(arguments);
    if (!strcmp(command, "port"))
        return port();
    if (!strcmp(command, "kick"))
        return kick(arguments);
    if (!strcmp(command, "reset"))
        return reset();
    if (!(page = find_page(&arguments)))
        return -1;
    if (!strcmp(command, "end")) {
        end(page);
        return 0;
    }
    if (!strcmp(command, "poke"))
        return poke(page, arguments);
    if (!strcmp(command, "peek"))
        return peek(page, arguments);
    if (!strcmp(command, "series"))
        return series(page, arguments);
    if (!strcmp(command, "race"))
        return start_race(page, arguments);
    return flood(page, arguments);
}
