#include "device/device_look.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/shard.h"

enum { LOOK_READ_BYTES_MAX = 256 * 1024 };

void device_looks_init(struct device_looks *looks)
{
    list_init(&looks->waiting);
}

static void look_end(struct device_look *look, enum rc rc)
{
    list_take(&look->in_devices);
    look->done(look, rc);
}

void device_look_fini(struct device_look *look)
{
    ledger_read_fini(&look->read.read);
    free(look->keys);
    buf_fini(&look->key_bytes);
}

void device_looks_tick(struct devices *devices)
{
    struct list *at = devices->looks.waiting.next;

    /* The one that has waited longest is the first. */
    while (at != &devices->looks.waiting) {
        struct device_look *look = container_of(at, struct device_look, in_devices);
        if (devices->tick - look->tick < LOOK_TICKS)
            return;
        at = at->next;
        look_end(look, RC_OK);
    }
}

void device_looks_fini(struct devices *devices)
{
    struct list *at;

    while ((at = list_pop(&devices->looks.waiting)) != NULL) {
        struct device_look *look = container_of(at, struct device_look, in_devices);
        look->drop(look);
    }
}

/* --- the loops are asked ---------------------------------------------------------------------------------------- */

/* Goes to one loop and back. It names its look by a number: the look may have ended meanwhile. */
struct link_ask {
    struct command       command;
    struct devices      *devices;
    struct device_home  *home;
    struct channel_name *channel;   /* owns a reference */
    uint64_t             look;
    size_t               count, done;
    struct link_asked {
        uint64_t         key;
        size_t           index;     /* of the device in its look */
        struct link_view view;
    }                    at[LINK_ASK_MAX];
};

static void link_ask_free(struct command *command)
{
    struct link_ask *ask = container_of(command, struct link_ask, command);

    channel_name_unref(ask->channel);
    free(ask);
}

static void link_ask_at_loop(struct command *command, struct shard *shard)
{
    struct link_ask *ask  = container_of(command, struct link_ask, command);
    size_t           cost = 0;

    while (ask->done < ask->count && cost < LINK_ASK_COST_MAX) {
        struct link_asked *link = &ask->at[ask->done++];
        cost += ask->home->look(ask->home, link->key, ask->channel, &link->view);
    }
    shard_send_own(shard, command);
}

static struct device_look *look_find(const struct devices *devices, uint64_t id)
{
    for (struct list *at = devices->looks.waiting.next; at != &devices->looks.waiting; at = at->next)
        if (container_of(at, struct device_look, in_devices)->id == id)
            return container_of(at, struct device_look, in_devices);
    return NULL;
}

static void link_ask_back(struct command *command, struct writer *writer)
{
    struct link_ask    *ask  = container_of(command, struct link_ask, command);
    struct device_look *look = look_find(ask->devices, ask->look);

    if (look == NULL) {
        command_free(command);
        return;
    }
    if (ask->done < ask->count) {
        writer->port->send(writer->ctx, ask->home->loop, command);  /* the loop goes on in a later turn */
        return;
    }
    for (size_t i = 0; i < ask->count; i++) {
        look->at[ask->at[i].index].is_link_told = true;
        look->at[ask->at[i].index].link         = ask->at[i].view;
    }
    command_free(command);
    if (--look->asks == 0)
        look_end(look, RC_OK);
}

static const struct command_kind link_ask_kind = {
    .name = "link_ask", .free = link_ask_free, .at_loop = link_ask_at_loop, .at_writer = link_ask_back,
};

static struct link_ask *link_ask_new(const struct device_look *look, struct device_home *home)
{
    struct link_ask *ask = calloc(1, sizeof *ask);

    must(ask != NULL);
    ask->command.kind = &link_ask_kind;
    ask->devices      = look->devices;
    ask->home         = home;
    ask->channel      = channel_name_ref(look->channel);
    ask->look         = look->id;
    return ask;
}

static void link_ask_send(struct device_look *look, struct link_ask *ask)
{
    struct writer *writer = look->devices->writer;

    look->asks++;
    writer->port->send(writer->ctx, ask->home->loop, &ask->command);
}

/* Commands to the loops, those of one look at a time to each. */
struct ask_sender {
    struct device_look *look;
    struct link_ask    *open[LOOPS_MAX];  /* not full yet, by the loop */
};

static void ask_sender_add(struct ask_sender *sender, struct device_home *home, uint64_t key, size_t index)
{
    must(home->loop < LOOPS_MAX);
    struct link_ask **open = &sender->open[home->loop];

    /* The links of one loop may have several homes in tests. */
    if (*open != NULL && ((*open)->count == LINK_ASK_MAX || (*open)->home != home)) {
        link_ask_send(sender->look, *open);
        *open = NULL;
    }
    if (*open == NULL)
        *open = link_ask_new(sender->look, home);
    (*open)->at[(*open)->count++] = (struct link_asked){ .key = key, .index = index };
}

static void look_ask_link(struct device_look *look, struct ask_sender *sender, size_t index)
{
    const struct device_facts *facts = &look->at[index];

    if (receipt_is_acknowledged(facts, &look->message))
        return;
    const struct standing *standing = standing_find(look->devices, span_str(facts->user), span_str(facts->device));
    if (standing != NULL && standing->home != NULL && standing->home->look != NULL)
        ask_sender_add(sender, standing->home, standing->key, index);
}

static void look_ask_loops(struct device_look *look)
{
    struct ask_sender sender = { .look = look };

    look->id   = ++look->devices->looks.last_id;
    look->tick = look->devices->tick;
    for (size_t i = 0; i < look->count; i++)
        look_ask_link(look, &sender, i);
    for (size_t i = 0; i < LOOPS_MAX; i++)
        if (sender.open[i] != NULL)
            link_ask_send(look, sender.open[i]);
    if (look->asks == 0)
        look_end(look, RC_OK);
    else
        list_push(&look->devices->looks.waiting, &look->in_devices);
}

/* --- ledger and memory ------------------------------------------------------------------------------------------ */

static void facts_take_row(struct device_facts *facts, const struct ledger_row *row)
{
    struct place_row place;

    if (row->generation == 0 || !place_row_get(row->value, &place))
        return;
    facts->has_place   = true;
    facts->is_kept     = place.is_kept;
    facts->place_epoch = place.epoch;
    facts->place_seq   = row->generation - 1;
    facts->place_wall  = place.wall;
}

static const struct standing *standing_of(const struct devices *devices, const struct device_facts *facts)
{
    return standing_find(devices, span_str(facts->user), span_str(facts->device));
}

void device_facts_remember(const struct devices *devices, struct device_facts *facts)
{
    const struct standing *standing = standing_of(devices, facts);

    if (standing == NULL)
        return;
    facts->is_online = standing_is_online(devices, standing, devices->writer->wall);
    facts->transport = standing_transport(devices, standing);
    facts->key       = standing->home == NULL ? 0 : standing->key;
    if (standing->seen > facts->seen)
        facts->seen = standing->seen;
}

void device_look_at_links(struct device_look *look)
{
    for (size_t i = 0; i < look->count; i++)
        device_facts_remember(look->devices, &look->at[i]);
    look_ask_loops(look);
}

static void look_read(struct device_look *look);

static void look_came(struct device_read *asked)
{
    struct device_look *look = container_of(asked, struct device_look, read);
    struct ledger_read *read = &asked->read;
    enum rc             rc   = read->rc;

    for (size_t i = 0; rc == RC_OK && i < read->row_count; i++)
        facts_take_row(&look->at[look->read_at++], &read->rows[i]);
    if (rc == RC_CORRUPT)
        look->read_at++;  /* as if the row were not there */
    ledger_read_fini(read);
    if (rc != RC_OK && rc != RC_CORRUPT) {
        look_end(look, rc);
        return;
    }
    look_read(look);
}

static void look_read(struct device_look *look)
{
    if (look->read_at < look->count) {
        look->read.came = look_came;
        look->read.read = (struct ledger_read){
            .way = LEDGER_GET, .keys = look->keys + look->read_at, .key_count = look->count - look->read_at,
            .bytes_max = LOOK_READ_BYTES_MAX,
        };
        device_read_send(look->devices, &look->read);
        return;
    }
    device_look_at_links(look);
}

void device_look_begin(struct device_look *look)
{
    size_t each = USER_NAME_BYTES_MAX + DEVICE_NAME_BYTES_MAX + look->channel->len + 2;

    must(look->count <= LOOK_DEVICES_MAX);
    list_init(&look->in_devices);
    look->keys = calloc(look->count + 1, sizeof look->keys[0]);
    must(look->keys != NULL);
    buf_init(&look->key_bytes, (look->count + 1) * each);
    must(buf_extend(&look->key_bytes, (look->count + 1) * each) != NULL);  /* it never moves: keys point into it */
    look->key_bytes.len = 0;
    for (size_t i = 0; i < look->count; i++) {
        size_t from = look->key_bytes.len;
        row_key_put(&look->key_bytes, span_str(look->at[i].user), span_str(look->at[i].device));
        row_key_put_third(&look->key_bytes, channel_name_span(look->channel));
        look->keys[i] = (struct ledger_key){ ROW_PLACE, span_of(look->key_bytes.at + from, look->key_bytes.len - from) };
    }
    look_read(look);
}
