/* request_device.c - of each device with requests under way: how many, and the bytes of all its answers so far.
 *
 * The total stands in the row RESPONSES, which only rises. It is read once, while the back end thinks. Where nobody else
 * writes, it is remembered for the next requests; in a cluster only as long as the device has a request under way. Two nodes
 * that answer one device in the same moment may count one of the answers for none: then a little more is kept.
 *
 * Where it is remembered, the row is not written with each answer, but once for each 1/SAVE_PARTS of responses_bytes_max, and
 * when the device is forgotten or the node stops. A crash may leave so many bytes uncounted: then so much more is kept. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum { TOTAL_AGAIN_TICKS = 10, TOTAL_READ_BYTES = 1024, SAVE_PARTS = 64, RESPONSES_ROW_VERSION = 1 };

struct device_sought { struct span name; };

static bool is_request_device(const struct map_node *node, const void *key)
{
    const struct request_device *device = container_of(node, const struct request_device, by_name);
    const struct device_sought  *sought = key;

    return span_eq(span_of(device->name, device->len), sought->name);
}

struct request_device *request_device_find(const struct requests *requests, struct span name)
{
    const struct device_sought sought = { name };
    struct map_node *node = map_find(&requests->devices, hash_bytes(requests->setup.hash_key, name), is_request_device, &sought);

    return node == NULL ? NULL : container_of(node, struct request_device, by_name);
}

static struct request_device *request_device_get(struct requests *requests, struct span name)
{
    struct request_device *device = request_device_find(requests, name);

    if (device != NULL)
        return device;
    device = calloc(1, sizeof *device + name.len);
    must(device != NULL);
    list_init(&device->answers);
    device->requests = requests;
    device->len      = name.len;
    memcpy(device->name, name.at, name.len);
    map_add(&requests->devices, &device->by_name, hash_bytes(requests->setup.hash_key, name));
    return device;
}

/* It rests no more, if it did. */
static void request_device_wake(struct request_device *device)
{
    if (!list_is_linked(&device->link))
        return;
    list_take(&device->link);
    if (list_is_empty(&device->answers))
        device->requests->idle_count--;
    else
        device->requests->idle_link_count--;
}

void request_device_forget(struct request_device *device)
{
    struct requests *requests = device->requests;

    request_device_wake(device);
    request_link_forget_all(device);
    map_take(&requests->devices, &device->by_name);
    ledger_read_fini(&device->read.read);
    free(device);
}

/* --- the row ---------------------------------------------------------------------------------------------------- */

static const char responses_value[] = { RESPONSES_ROW_VERSION };

struct ledger_change request_device_change(struct span name, uint64_t total)
{
    return (struct ledger_change){ .op = LEDGER_RAISE, .key = { ROW_RESPONSES, name }, .generation = total + 1,
                                   .value = span_of(responses_value, sizeof responses_value) };
}

static bool is_remembered(const struct request_device *device)
{
    return device->is_known && !device->requests->setup.writer->durable.is_shared;
}

bool request_device_saves(struct request_device *device)
{
    struct requests *requests = device->requests;

    if (is_remembered(device) && !requests->is_stopping &&
        device->total - device->saved < requests->limits.responses_bytes_max / SAVE_PARTS)
        return false;
    device->saved = device->total;
    return true;
}

void request_device_doubt(struct request_device *device)
{
    device->saved = 0;
}

/* A write of the row by itself; it is best effort, as the total is. */
struct total_write {
    struct request_write write;
    struct ledger_change change;
    char                 name[];
};

static void total_written(struct request_write *write)
{
    struct total_write *total = container_of(write, struct total_write, write);

    ledger_write_fini(&total->write.write);
    free(total);
}

void request_total_drop(struct request_write *write)
{
    if (write->done == total_written)
        total_written(write);
}

static void request_device_save(struct request_device *device)
{
    struct total_write *total;

    if (!is_remembered(device) || device->saved == device->total)
        return;
    total = calloc(1, sizeof *total + device->len);
    must(total != NULL);
    memcpy(total->name, device->name, device->len);
    device->saved = device->total;
    total->change = request_device_change(span_of(total->name, device->len), device->total);
    total->write  = (struct request_write){ .done = total_written, .write = { .changes = &total->change, .count = 1 } };
    request_write_send(device->requests, &total->write);
}

void request_devices_save(struct requests *requests)
{
    for (struct list *at = requests->idle.next; at != &requests->idle; at = at->next)
        request_device_save(container_of(at, struct request_device, link));
}

/* --- which are remembered --------------------------------------------------------------------------------------- */

/* Where nobody else writes, the total stays known; of links their answers are. */
static void request_device_rest(struct request_device *device)
{
    struct requests *requests = device->requests;

    if (!list_is_empty(&device->answers)) {
        request_link_rest(device);
        return;
    }
    if (!is_remembered(device)) {
        request_device_forget(device);
        return;
    }
    list_push(&requests->idle, &device->link);
    if (++requests->idle_count <= REQUEST_DEVICES_IDLE_MAX)
        return;
    struct request_device *oldest = container_of(requests->idle.next, struct request_device, link);
    request_device_save(oldest);
    request_device_forget(oldest);
}

static void request_total_came(struct request_read *read)
{
    struct request_device *device   = container_of(read, struct request_device, read);
    struct requests       *requests = device->requests;

    device->is_reading = false;
    device->is_known   = read->read.rc == RC_OK && read->read.row_count == 1;
    if (device->is_known)
        device->saved = device->total = read->read.rows[0].generation == 0 ? 0 : read->read.rows[0].generation - 1;
    else
        device->again_tick = requests->tick + TOTAL_AGAIN_TICKS;
    ledger_read_fini(&read->read);
    read->read = (struct ledger_read){ 0 };
    if (device->under_way == 0)
        request_device_rest(device);
}

static void request_total_ask(struct request_device *device)
{
    device->is_reading = true;
    device->key        = (struct ledger_key){ ROW_RESPONSES, span_of(device->name, device->len) };
    device->read.came  = request_total_came;
    device->read.read  = (struct ledger_read){ .way = LEDGER_GET, .keys = &device->key, .key_count = 1,
                                               .bytes_max = TOTAL_READ_BYTES };
    request_read_send(device->requests, &device->read);
}

struct request_device *request_device_begin(struct requests *requests, struct span name, bool has_rows)
{
    struct request_device *device = request_device_get(requests, name);

    if (device->under_way >= REQUESTS_OF_DEVICE_MAX)
        return NULL;
    request_device_wake(device);
    device->under_way++;
    if (has_rows && !device->is_known)
        request_device_ask_total(device);
    return device;
}

void request_device_ask_total(struct request_device *device)
{
    if (!device->is_known && !device->is_reading && (int32_t)(device->requests->tick - device->again_tick) >= 0)
        request_total_ask(device);
}

void request_device_end(struct request_device *device)
{
    must(device->under_way > 0);
    if (--device->under_way == 0 && !device->is_reading)
        request_device_rest(device);
}

void request_devices_fini(struct requests *requests)
{
    while (!list_is_empty(&requests->idle))
        request_device_forget(container_of(requests->idle.next, struct request_device, link));
    while (!list_is_empty(&requests->idle_links))
        request_device_forget(container_of(requests->idle_links.next, struct request_device, link));
    must(requests->devices.count == 0);
    map_fini(&requests->devices);
}
