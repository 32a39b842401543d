/* request_device.c - of each device with requests under way: how many, and the bytes of all its answers so far.
 *
 * The total stands in the row RESPONSES, which only rises. It is read once, while the back end thinks. Where nobody else
 * writes, it is remembered for the next requests; in a cluster only as long as the device has a request under way. Two nodes
 * that answer one device in the same moment may count one of the answers for none: then a little more is kept. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum { TOTAL_AGAIN_TICKS = 10, TOTAL_READ_BYTES = 1024 };

struct device_sought { struct span name; };

static bool is_request_device(const struct map_node *node, const void *key)
{
    const struct request_device *device = container_of(node, const struct request_device, by_name);
    const struct device_sought  *sought = key;

    return span_eq(span_of(device->name, device->len), sought->name);
}

static struct request_device *request_device_get(struct requests *requests, struct span name)
{
    const struct device_sought sought = { name };
    uint64_t                   hash   = hash_bytes(requests->setup.hash_key, name);
    struct map_node           *node   = map_find(&requests->devices, hash, is_request_device, &sought);

    if (node != NULL)
        return container_of(node, struct request_device, by_name);
    struct request_device *device = calloc(1, sizeof *device + name.len);
    must(device != NULL);
    device->requests = requests;
    device->len      = name.len;
    memcpy(device->name, name.at, name.len);
    map_add(&requests->devices, &device->by_name, hash);
    return device;
}

static void request_device_forget(struct request_device *device)
{
    struct requests *requests = device->requests;

    if (list_is_linked(&device->link))
        requests->idle_count--;
    list_take(&device->link);
    map_take(&requests->devices, &device->by_name);
    ledger_read_fini(&device->read.read);
    free(device);
}

/* Where nobody else writes, the total stays known; of links nothing is remembered. */
static void request_device_rest(struct request_device *device)
{
    struct requests *requests = device->requests;

    if (!device->is_known || requests->setup.writer->durable.is_shared) {
        request_device_forget(device);
        return;
    }
    list_push(&requests->idle, &device->link);
    if (++requests->idle_count > REQUEST_DEVICES_IDLE_MAX)
        request_device_forget(container_of(requests->idle.next, struct request_device, link));
}

static void request_total_came(struct request_read *read)
{
    struct request_device *device   = container_of(read, struct request_device, read);
    struct requests       *requests = device->requests;

    device->is_reading = false;
    device->is_known   = read->read.rc == RC_OK && read->read.row_count == 1;
    if (device->is_known)
        device->total = read->read.rows[0].generation == 0 ? 0 : read->read.rows[0].generation - 1;
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
    if (list_is_linked(&device->link)) {
        list_take(&device->link);
        requests->idle_count--;
    }
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
    must(requests->devices.count == 0);
    map_fini(&requests->devices);
}
