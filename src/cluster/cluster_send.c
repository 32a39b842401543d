/* cluster_send.c - what other nodes are to get: the messages of a turn, by one look-up after the commit, and then one frame to
 * each node that follows some of them.
 *
 *     committed ──▶ gathering ──LOOKUP──▶ which nodes ──▶ a frame for each, open until the end of the turn ──SEND──▶
 *
 * What can't be sent is given up, and the links skip a number: receivers then compare heads. */
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster_priv.h"
#include "message/slot.h"

/* A frame that is being filled, or under way. */
struct cluster_frame {
    struct cluster_call call;
    uint64_t            number;
    struct buf          bytes;
};

/* What others are to hear of a channel: a message, or that it was emptied. */
struct sought_message {
    struct channel_name *channel;     /* owns a reference */
    struct message      *message;     /* owns a reference; NULL: a purge, up to … */
    uint64_t             epoch, head;
    uint32_t             name;        /* which of the names */
};

/* The messages of a turn, or some of them. */
struct cluster_lookup {
    struct cluster_call    call;
    struct buf             text;      /* of the names */
    struct engine_name    *names;     /* before they are put, `first` says where in the text, and `count` which message was
                                       * the last one, from 1 */
    size_t                 name_count, name_cap;
    struct sought_message *messages;
    size_t                 count, cap;
    size_t                 bytes;
};

/* --- other nodes ---------------------------------------------------------------------------------------------- */

bool cluster_is_self(const struct cluster *cluster, const struct node_id *id)
{
    return strcmp(cluster->setup.self.id.name, id->name) == 0;  /* an older incarnation of it is gone */
}

static bool far_has_id(const struct map_node *node, const void *key)
{
    const struct cluster_far *far = container_of(node, struct cluster_far, node);
    const struct node_id     *id  = key;

    return far->id.incarnation == id->incarnation && strcmp(far->id.name, id->name) == 0;
}

static struct cluster_far *far_find(const struct cluster *cluster, const struct node_id *id)
{
    struct map_node *node = map_find(&cluster->far_map, id->incarnation, far_has_id, id);
    return node == NULL ? NULL : container_of(node, struct cluster_far, node);
}

static struct cluster_far *far_get(struct cluster *cluster, const struct node_id *id)
{
    struct cluster_far *far = far_find(cluster, id);

    if (far != NULL)
        return far;
    far = calloc(1, sizeof *far);
    must(far != NULL);
    far->id = *id;
    map_add(&cluster->far_map, &far->node, id->incarnation);
    list_push(&cluster->far, &far->link);
    return far;
}

bool cluster_is_marked(const struct cluster *cluster, const struct node_id *id)
{
    const struct cluster_far *far = far_find(cluster, id);
    return far != NULL && far->mark == cluster->mark;
}

/* A node whose lease has run out is sent nothing: it compares heads when it is back. */
static bool far_is_sought(const struct cluster *cluster, const struct node_id *id)
{
    const struct registry_node *node = registry_find_id(&cluster->registry, id);

    return !cluster_is_self(cluster, id) && (node == NULL || node->state != NODE_LOST);
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static void cluster_frame_free(struct cluster_frame *frame)
{
    buf_fini(&frame->bytes);
    free(frame);
}

/* A frame that is lost leaves a hole in the numbers of its link. */
static void cluster_frame_done(struct cluster *cluster, struct cluster_call *call)
{
    struct cluster_frame *frame = container_of(call, struct cluster_frame, call);

    if (call->call.rc != RC_OK)
        counter_add(&cluster->counters.frames_lost, 1);
    cluster_frame_free(frame);
}

static struct cluster_frame *cluster_frame_new(struct cluster *cluster, const struct node_id *to, size_t bytes)
{
    struct cluster_frame   *frame = calloc(1, sizeof *frame);
    const struct node_id   *self  = &cluster->setup.self.id;
    const struct bus_header header = {
        .name     = span_str(self->name), .incarnation = self->incarnation,
        .receiver = to->incarnation,      .number      = bus_links_next(cluster->links, to, cluster->now),
    };

    must(frame != NULL);
    frame->number = header.number;
    frame->call = (struct cluster_call){ .call = { .kind = ENGINE_SEND, .to = *to }, .done = cluster_frame_done };
    buf_init(&frame->bytes, cluster->engine->frame_bytes_max);
    buf_make_room(&frame->bytes, bytes);
    bus_header_put(&frame->bytes, &header);
    return frame;
}

static void far_send(struct cluster *cluster, struct cluster_far *far)
{
    struct cluster_frame *frame = far->open;

    if (frame == NULL)
        return;
    far->open = NULL;
    must(!buf_is_over(&frame->bytes));
    far->frame_bytes       = frame->bytes.len;
    frame->call.call.frame = buf_span(&frame->bytes);
    counter_add(&cluster->counters.frames_sent, 1);
    cluster_submit(cluster, &frame->call);
}

/* The frame of this turn, where an item of so many bytes has room. NULL: no frame has. */
static struct buf *far_frame(struct cluster *cluster, struct cluster_far *far, size_t bytes)
{
    if (CLUSTER_HEADER_BYTES_MAX + bytes > cluster->engine->frame_bytes_max)
        return NULL;
    if (far->open != NULL && far->open->bytes.len + bytes > cluster->engine->frame_bytes_max)
        far_send(cluster, far);
    if (far->open == NULL)
        far->open = cluster_frame_new(cluster, &far->id, far->frame_bytes);
    return &far->open->bytes;
}

/* An encoded item. */
static bool far_put(struct cluster *cluster, struct cluster_far *far, struct span item)
{
    struct buf *frame = far_frame(cluster, far, item.len);

    if (frame != NULL)
        buf_put(frame, item);
    return frame != NULL;
}

bool cluster_put_item(struct cluster *cluster, const struct node_id *to, const struct bus_item *item)
{
    buf_clear(&cluster->item);
    bus_item_put(&cluster->item, item);
    return !buf_is_over(&cluster->item) && far_put(cluster, far_get(cluster, to), buf_span(&cluster->item));
}

uint64_t cluster_send_self(struct cluster *cluster)
{
    struct cluster_far *far = far_get(cluster, &cluster->setup.self.id);

    must(cluster_put_item(cluster, &far->id, &(const struct bus_item){ .kind = BUS_BEAT }));
    return far->open->number;
}

static void cluster_beat(void *ctx, const struct node_id *to)
{
    struct cluster *cluster = ctx;

    if (far_is_sought(cluster, to))
        cluster_put_item(cluster, to, &(const struct bus_item){ .kind = BUS_BEAT });
}

void cluster_forget_far(struct cluster *cluster, const struct node_id *id)
{
    struct cluster_far *far = far_find(cluster, id);

    bus_links_forget(cluster->links, id);
    if (far == NULL)
        return;
    far_send(cluster, far);
    list_take(&far->link);
    map_take(&cluster->far_map, &far->node);
    free(far);
}

/* --- gathering ------------------------------------------------------------------------------------------------ */

static void lookup_free(struct cluster *cluster, struct cluster_lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++) {
        message_unref(lookup->messages[i].message);
        channel_name_unref(lookup->messages[i].channel);
    }
    cluster->waiting_count -= lookup->count;
    cluster->waiting_bytes -= lookup->bytes;
    engine_call_fini(&lookup->call.call);
    buf_fini(&lookup->text);
    free(lookup->names);
    free(lookup->messages);
    free(lookup);
}

static void lookup_done(struct cluster *cluster, struct cluster_call *call);

static struct cluster_lookup *lookup_new(struct cluster *cluster)
{
    struct cluster_lookup *lookup = calloc(1, sizeof *lookup);

    must(lookup != NULL);
    lookup->call = (struct cluster_call){ .call = { .kind = ENGINE_LOOKUP }, .done = lookup_done };
    buf_init(&lookup->text, (size_t)ENGINE_NAMES_MAX * ROUTE_NAME_BYTES_MAX);
    memset(cluster->slots, 0, sizeof cluster->slots);
    return lookup;
}

static void lookup_put(struct cluster *cluster)
{
    struct cluster_lookup *lookup = cluster->gathering;

    cluster->gathering = NULL;
    for (size_t i = 0; i < lookup->name_count; i++)
        lookup->names[i] = (struct engine_name){
            .name = span_of(lookup->text.at + lookup->names[i].first, lookup->names[i].name.len),
        };
    lookup->call.call.names      = lookup->names;
    lookup->call.call.name_count = lookup->name_count;
    counter_add(&cluster->counters.lookups, 1);
    cluster_submit(cluster, &lookup->call);
}

static bool name_is(const struct cluster_lookup *lookup, size_t at, struct span name)
{
    const struct engine_name *known = &lookup->names[at];
    return span_eq(span_of(lookup->text.at + known->first, known->name.len), name);
}

static size_t lookup_add_name(struct cluster_lookup *lookup, struct span name)
{
    if (lookup->name_count == lookup->name_cap) {
        lookup->name_cap = lookup->name_cap == 0 ? 16 : 2 * lookup->name_cap;
        lookup->names    = reallocarray(lookup->names, lookup->name_cap, sizeof lookup->names[0]);
        must(lookup->names != NULL);
    }
    lookup->names[lookup->name_count] = (struct engine_name){ .name  = { NULL, name.len },
                                                              .first = (uint32_t)lookup->text.len };
    buf_put(&lookup->text, name);
    return lookup->name_count++;
}

/* Each name stands in the look-up once. */
static size_t lookup_find_name(struct cluster *cluster, struct cluster_lookup *lookup, struct span name)
{
    size_t at = hash_bytes(cluster->setup.hash_key, name) % LOOKUP_SLOTS;

    for (; cluster->slots[at] != 0; at = (at + 1) % LOOKUP_SLOTS)
        if (name_is(lookup, cluster->slots[at] - 1u, name))
            return cluster->slots[at] - 1u;
    size_t number      = lookup_add_name(lookup, name);
    cluster->slots[at] = (uint16_t)(number + 1);
    return number;
}

static size_t sought_bytes(const struct sought_message *sought)
{
    return sizeof *sought + (sought->message == NULL ? 0 : message_size(sought->message));
}

/* Shares what it points at. */
static void lookup_add_message(struct cluster *cluster, struct cluster_lookup *lookup, const struct sought_message *sought)
{
    struct sought_message *kept;

    if (lookup->count == lookup->cap) {
        lookup->cap      = lookup->cap == 0 ? 16 : 2 * lookup->cap;
        lookup->messages = reallocarray(lookup->messages, lookup->cap, sizeof lookup->messages[0]);
        must(lookup->messages != NULL);
    }
    kept  = &lookup->messages[lookup->count++];
    *kept = *sought;
    channel_name_ref(kept->channel);
    if (kept->message != NULL)
        message_ref(kept->message);
    lookup->names[kept->name].count = (uint32_t)lookup->count;
    lookup->bytes += sought_bytes(kept);
    cluster->waiting_bytes += sought_bytes(kept);
    cluster->waiting_count++;
}

/* Where heads travel, the last message of a channel is enough. */
static bool lookup_replace(struct cluster *cluster, struct cluster_lookup *lookup, const struct sought_message *sought)
{
    const struct engine_name *known = &lookup->names[sought->name];
    struct sought_message    *last  = known->count == 0 ? NULL : &lookup->messages[known->count - 1];

    if (!cluster->engine->prefers_heads || last == NULL || last->message == NULL || sought->message == NULL ||
        !channel_name_eq(last->channel, sought->channel))
        return false;
    lookup->bytes += sought_bytes(sought) - sought_bytes(last);
    cluster->waiting_bytes += sought_bytes(sought) - sought_bytes(last);
    message_unref(last->message);
    last->message = message_ref(sought->message);
    return true;
}

/* Not without a lease: who reads the list of leases is to know everybody whose look-up may have missed it (cluster_told.c). */
static bool cluster_may_look_up(const struct cluster *cluster)
{
    return cluster->is_up && cluster->now < cluster->lease_until;
}

/* The first lease is on its way, and what was committed waits for it. */
static bool cluster_will_look_up(const struct cluster *cluster)
{
    return cluster->is_up && cluster->lease_until == 0 && cluster->routes_want_lease;
}

/* For an engine that turns out to have been emptied before. */
static void lookup_note(struct cluster *cluster, const struct cluster_lookup *lookup, uint64_t round)
{
    for (size_t i = 0; i < lookup->count; i++) {
        if (lookup->messages[i].message != NULL)
            cluster_tell_note(cluster, lookup->messages[i].message, round);
        else
            cluster_tell_forget(cluster, round);
    }
}

/* No further names fit in, or the turn ends. */
static void lookup_end(struct cluster *cluster)
{
    struct cluster_lookup *lookup = cluster->gathering;

    if (cluster_may_look_up(cluster)) {
        lookup_put(cluster);
        return;
    }
    cluster->gathering   = NULL;
    cluster->has_dropped = true;
    counter_add(&cluster->counters.dropped, lookup->count);
    lookup_note(cluster, lookup, 0);
    lookup_free(cluster, lookup);
}

static void cluster_seek(struct cluster *cluster, struct sought_message *sought)
{
    char        scratch[ROUTE_NAME_BYTES_MAX];
    struct span name = route_name(channel_name_span(sought->channel), scratch);

    if ((!cluster_may_look_up(cluster) && !cluster_will_look_up(cluster)) || cluster->waiting_count >= cluster->setup.limits.waiting_max ||
        cluster->waiting_bytes + sought_bytes(sought) > cluster->setup.limits.waiting_bytes_max) {
        counter_add(&cluster->counters.dropped, 1);
        cluster->has_dropped = true;
        if (sought->message != NULL)
            cluster_tell_note(cluster, sought->message, 0);
        return;
    }
    if (cluster->gathering == NULL)
        cluster->gathering = lookup_new(cluster);
    sought->name = (uint32_t)lookup_find_name(cluster, cluster->gathering, name);
    if (!lookup_replace(cluster, cluster->gathering, sought))
        lookup_add_message(cluster, cluster->gathering, sought);
    if (cluster->gathering->name_count == ENGINE_NAMES_MAX)
        lookup_end(cluster);
}

void cluster_gather(struct cluster *cluster, struct message *message)
{
    cluster_seek(cluster, &(struct sought_message){ .channel = message->channel, .message = message });
}

void cluster_gather_purge(struct cluster *cluster, struct channel_name *channel, uint64_t epoch, uint64_t head)
{
    cluster_seek(cluster, &(struct sought_message){ .channel = channel, .epoch = epoch, .head = head });
}

/* --- what the look-up found ------------------------------------------------------------------------------------ */

/* The item is no longer than that. */
static size_t sought_item_bytes(const struct sought_message *sought, bool is_whole)
{
    return (is_whole ? message_size(sought->message) : 0) + sought->channel->len + CLUSTER_ITEM_MORE_BYTES;
}

/* Does the message travel, or its head alone? */
static bool sought_is_whole(const struct cluster *cluster, const struct sought_message *sought)
{
    return sought->message != NULL && !cluster->engine->prefers_heads &&
           CLUSTER_HEADER_BYTES_MAX + sought_item_bytes(sought, true) <= cluster->engine->frame_bytes_max;
}

static void encode_head(struct buf *frame, const struct sought_message *sought)
{
    const struct message *message = sought->message;

    bus_item_put(frame, &(const struct bus_item){ .kind    = message == NULL ? BUS_PURGE : BUS_HEAD,
                                                  .channel = channel_name_span(sought->channel),
                                                  .epoch   = message == NULL ? sought->epoch : message->epoch,
                                                  .seq     = message == NULL ? sought->head : message->seq });
}

/* At the end of the frame; borrowed until it changes. */
static struct span encode_sought(struct buf *frame, const struct sought_message *sought, bool is_whole)
{
    const size_t at = frame->len;

    if (is_whole)
        bus_message_put(frame, sought->message);
    else
        encode_head(frame, sought);
    must(!buf_is_over(frame));
    return span_skip(buf_span(frame), at);
}

/* Of the nodes that were found for a name, those that get its messages, each once. Returns how many. */
static size_t found_far(struct cluster *cluster, const struct engine_call *call, const struct engine_name *name,
                        struct cluster_far **ret)
{
    size_t count = 0;

    cluster->mark++;
    must(name->count <= call->id_count && name->first <= call->id_count - name->count);
    for (size_t i = 0; i < name->count; i++) {
        const struct node_id *id = &call->ids[name->first + i];
        if (cluster_is_self(cluster, id))
            continue;  /* whoever is found has a lease, whatever this node was told of it before */
        struct cluster_far *far = far_get(cluster, id);
        if (far->mark == cluster->mark)
            continue;
        far->mark    = cluster->mark;
        ret[count++] = far;
    }
    return count;
}

/* Written into the first node's frame, and copied from there into those of the others. */
static void cluster_spread(struct cluster *cluster, const struct sought_message *sought, struct cluster_far **far,
                           size_t count)
{
    if (count == 0)
        return;
    const bool  is_whole = sought_is_whole(cluster, sought);
    struct buf *first    = far_frame(cluster, far[0], sought_item_bytes(sought, is_whole));
    must(first != NULL);
    const struct span item = encode_sought(first, sought, is_whole);
    for (size_t i = 1; i < count; i++)
        must(far_put(cluster, far[i], item));
    counter_add(is_whole ? &cluster->counters.messages_sent : &cluster->counters.heads_sent, count);
}

/* The engine may not know yet who follows it. */
static void cluster_tell_others(struct cluster *cluster, const struct sought_message *sought, struct cluster_far **found,
                                size_t count)
{
    cluster->mark++;
    for (size_t i = 0; i < count; i++)
        found[i]->mark = cluster->mark;
    if (sought->message != NULL)
        cluster_tell_unmarked(cluster, sought->message);
    else
        cluster_tell_purge(cluster, sought->channel, sought->epoch, sought->head);
}

/* Where each name's nodes stand in one array, so that messages may go in their order. */
static void lookup_spread(struct cluster *cluster, struct cluster_lookup *lookup)
{
    const struct engine_call *call  = &lookup->call.call;
    struct cluster_far      **far   = calloc(call->id_count + 1, sizeof far[0]);
    size_t                   *counts = calloc(lookup->name_count, sizeof counts[0]);

    must(far != NULL && counts != NULL);
    for (size_t i = 0; i < lookup->name_count; i++)
        counts[i] = found_far(cluster, call, &lookup->names[i], &far[lookup->names[i].first]);
    for (size_t i = 0; i < lookup->count; i++) {
        const struct sought_message *sought = &lookup->messages[i];
        cluster_spread(cluster, sought, &far[lookup->names[sought->name].first], counts[sought->name]);
        if (cluster_tells_all(cluster))
            cluster_tell_others(cluster, sought, &far[lookup->names[sought->name].first], counts[sought->name]);
    }
    free(far);
    free(counts);
}

static void lookup_done(struct cluster *cluster, struct cluster_call *call)
{
    struct cluster_lookup *lookup = container_of(call, struct cluster_lookup, call);

    lookup_note(cluster, lookup, call->call.rc == RC_OK ? call->call.round : 0);
    if (call->call.rc == RC_OK) {
        lookup_spread(cluster, lookup);
    } else {
        counter_add(&cluster->counters.lookup_failures, 1);
        counter_add(&cluster->counters.dropped, lookup->count);
        cluster->has_dropped = true;
    }
    lookup_free(cluster, lookup);
}

/* --- who follows this channel? ---------------------------------------------------------------------------------- */

struct cluster_search {
    struct cluster_call  call;
    uint64_t             question;
    struct engine_name   name;
    struct channel_name *channel;  /* owns a reference */
    char                 scratch[ROUTE_NAME_BYTES_MAX];
};

static void search_done(struct cluster *cluster, struct cluster_call *call)
{
    struct cluster_search *search = container_of(call, struct cluster_search, call);

    cluster_ask_found(cluster->ask, search->question, call->call.ids, call->call.id_count, call->call.rc != RC_OK);
    engine_call_fini(&call->call);
    channel_name_unref(search->channel);
    free(search);
}

void cluster_look_up(struct cluster *cluster, uint64_t question, struct channel_name *channel)
{
    struct cluster_search *search = calloc(1, sizeof *search);

    must(search != NULL);
    search->question  = question;
    search->channel   = channel_name_ref(channel);
    search->name.name = route_name(channel_name_span(channel), search->scratch);
    search->call = (struct cluster_call){ .call = { .kind = ENGINE_LOOKUP, .names = &search->name, .name_count = 1 },
                                          .done = search_done };
    counter_add(&cluster->counters.lookups, 1);
    cluster_submit(cluster, &search->call);
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

void cluster_send_turn_end(struct cluster *cluster)
{
    if (cluster->gathering != NULL && !cluster_will_look_up(cluster))
        lookup_end(cluster);
    if (cluster->has_dropped)
        bus_links_skip_all(cluster->links, cluster->now);
    cluster->has_dropped = false;
    for (struct list *link = cluster->far.next; link != &cluster->far; link = link->next)
        far_send(cluster, container_of(link, struct cluster_far, link));
}

void cluster_send_tick(struct cluster *cluster)
{
    if (cluster->is_up)
        bus_links_tick(cluster->links, cluster->now, cluster_beat, cluster);
}

void cluster_send_fini(struct cluster *cluster)
{
    struct list *link;

    if (cluster->gathering != NULL)
        lookup_free(cluster, cluster->gathering);
    while ((link = list_pop(&cluster->far)) != NULL) {
        struct cluster_far *far = container_of(link, struct cluster_far, link);
        if (far->open != NULL)
            cluster_frame_free(far->open);
        free(far);
    }
    map_fini(&cluster->far_map);
}
