/* forwarder_hint.c - where another node carries a part, it is told which heads have moved here:
 *
 *     version(1) · { forwarder · channel · epoch · head }
 *
 * in the numbers and texts of codec/bus/bus_body.h. A notice may be lost; the sweep of the carrier finds what it said. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/bus/bus_body.h"
#include "node/peer_question.h"
#include "uplink/forwarder_priv.h"

enum { HINT_BODY_BYTES = 64 * 1024, HINT_ENTRY_BYTES = 2 * (CHANNEL_NAME_BYTES_MAX + NAMESPACE_NAME_BYTES_MAX + 64) };

struct announced {
    struct list            link;
    struct forwarder_part *part;
    struct channel_name   *name;  /* owns a reference */
    uint64_t               epoch, head;
};

static void announced_free(struct announced *announced)
{
    list_take(&announced->link);
    channel_name_unref(announced->name);
    free(announced);
}

/* Publishes to one channel often come in a row. */
static bool announced_again(struct forwarders *set, const struct forwarder_part *part, const struct channel_name *name,
                            uint64_t epoch, uint64_t head)
{
    if (list_is_empty(&set->announced))
        return false;
    struct announced *last = container_of(set->announced.prev, struct announced, link);
    if (last->part != part || last->epoch != epoch || !channel_name_eq(last->name, name))
        return false;
    last->head = head > last->head ? head : last->head;
    return true;
}

void forwarder_announce(struct forwarder_part *part, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct forwarders *set = part->forwarder->set;

    if (set->writer->cluster == NULL || part->carrier[0] == '\0' || strcmp(part->carrier, set->self.name) == 0 ||
        announced_again(set, part, name, epoch, head) || set->announced_count >= FORWARDER_ANNOUNCED_MAX)
        return;
    struct announced *announced = calloc(1, sizeof *announced);
    must(announced != NULL);
    announced->part  = part;
    announced->name  = channel_name_ref(name);
    announced->epoch = epoch;
    announced->head  = head;
    list_push(&set->announced, &announced->link);
    set->announced_count++;
}

/* --- telling -------------------------------------------------------------------------------------------------------------- */

static void hint_told(struct peer_question *question, struct writer *writer)
{
    (void)writer;
    command_free(&question->command);
}

static struct peer_question *hint_new(const struct forwarder_part *part)
{
    struct peer_question *notice = peer_question_new(PEER_FORWARD);

    notice->is_notice   = true;
    notice->settled     = hint_told;
    notice->incarnation = part->carrier_incarnation;
    memcpy(notice->node, part->carrier, sizeof notice->node);
    bus_body_begin(&notice->body);
    return notice;
}

static void hint_put(struct buf *body, const struct announced *announced)
{
    bus_put_text(body, span_str(announced->part->forwarder->name));
    bus_put_text(body, channel_name_span(announced->name));
    bus_put_number(body, announced->epoch);
    bus_put_number(body, announced->head);
}

/* What the carrier of the first one is to be told, as much as fits. */
static void hint_notify(struct forwarders *set)
{
    const struct forwarder_part *first  = container_of(set->announced.next, struct announced, link)->part;
    struct peer_question        *notice = hint_new(first);
    struct list                 *next;

    for (struct list *at = set->announced.next; at != &set->announced; at = next) {
        struct announced *announced = container_of(at, struct announced, link);
        next                        = at->next;
        if (announced->part->carrier_incarnation != notice->incarnation || strcmp(announced->part->carrier, notice->node) != 0 ||
            notice->body.len + HINT_ENTRY_BYTES > HINT_BODY_BYTES)
            continue;
        hint_put(&notice->body, announced);
        announced_free(announced);
    }
    writer_ask_peers(set->writer, notice);
}

void forwarders_tell(struct forwarders *set)
{
    while (!list_is_empty(&set->announced))
        hint_notify(set);
    set->announced_count = 0;
}

void forwarders_untell(struct forwarders *set)
{
    while (set->announced.next != NULL && !list_is_empty(&set->announced))
        announced_free(container_of(set->announced.next, struct announced, link));
}

/* --- being told ------------------------------------------------------------------------------------------------------------- */

/* Only what this node carries counts; who told it may know less of the nodes than this one. */
static void hint_take(struct forwarders *set, struct span forwarder, struct span channel, uint64_t epoch, uint64_t head)
{
    struct channel_name *name;

    if (channel_name_new(set->spaces, set->hash_key, channel, &name) != CHANNEL_NAME_OK)
        return;
    for (size_t i = 0; i < set->count; i++)
        if (span_eq(span_str(set->at[i]->name), forwarder))
            forwarder_hear_told(set->at[i], name, epoch, head);
    channel_name_unref(name);
}

bool forwarders_told(struct forwarders *set, struct span body)
{
    struct span forwarder, channel;
    uint64_t    epoch, head;

    if (!bus_body_open(&body))
        return false;
    while (body.len > 0) {
        if (!bus_get_text(&body, FORWARDER_NAME_BYTES_MAX, &forwarder) ||
            !bus_get_text(&body, NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX, &channel) ||
            !bus_get_number(&body, &epoch) || !bus_get_number(&body, &head))
            return false;
        hint_take(set, forwarder, channel, epoch, head);
    }
    return true;
}
