#include "main/presence_hand_over.h"

#include "codec/handover/handover.h"
#include "device/presence_move.h"
#include "message/user_name.h"
#include "session/session_counters.h"

/* --- telling ----------------------------------------------------------------------------------------------------- */

struct presence_teller {
    struct buf *buf;
    uint64_t    count;
};

static void tell_present_channel(void *ctx, const struct channel_name *name, bool is_not_told)
{
    struct presence_teller *teller = ctx;

    handover_put_presence(teller->buf, &(struct handover_presence){ channel_name_span(name), is_not_told });
    teller->count++;
}

static void tell_present_member(void *ctx, const struct presence_who *who, msec since)
{
    struct presence_teller *teller = ctx;

    handover_put_member(teller->buf, &(struct handover_member){ who->user, who->device, span_str(who->transport), (uint64_t)since });
    teller->count++;
}

uint64_t presence_put(const struct presence *presence, struct buf *buf)
{
    static const struct presence_visitor visitor = { tell_present_channel, tell_present_member };
    struct presence_teller               teller  = { .buf = buf };

    presence_visit_all(presence, &visitor, &teller);
    return teller.count;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

struct presence_taker {
    struct presence       *presence;
    struct namespaces     *namespaces;
    const struct hash_key *key;
    struct channel_name   *channel;   /* whose members come; owns a reference. NULL: they are left out */
};

static bool take_present_channel(struct presence_taker *taker, struct span body)
{
    struct handover_presence told;
    struct channel_name     *name = NULL;

    channel_name_unref(taker->channel);
    taker->channel = NULL;
    if (!handover_get_presence(body, &told) ||
        channel_name_new(taker->namespaces, taker->key, told.channel, &name) != CHANNEL_NAME_OK)
        return false;
    if (!name->space->has_presence) {
        channel_name_unref(name);
        return false;
    }
    taker->channel = name;
    presence_take_channel(taker->presence, name, told.is_over != 0);
    return true;
}

/* Static, as the presence wants it. */
static const char *transport_named(struct span text)
{
    for (int transport = 0; transport < TRANSPORT_COUNT; transport++)
        if (span_eq(text, span_str(transport_text((enum transport)transport))))
            return transport_text((enum transport)transport);
    return NULL;
}

static bool take_present_member(struct presence_taker *taker, struct span body)
{
    struct handover_member told;

    if (taker->channel == NULL || !handover_get_member(body, &told) || !user_name_is_valid(told.user) ||
        !device_name_is_valid(told.device) || transport_named(told.transport) == NULL)
        return false;
    return presence_take_member(taker->presence, taker->channel,
                                &(struct presence_who){ told.user, told.device, 0, transport_named(told.transport) },
                                (msec)told.since);
}

size_t presence_take(struct presence *presence, struct namespaces *namespaces, const struct hash_key *key, struct span records)
{
    struct presence_taker taker = { .presence = presence, .namespaces = namespaces, .key = key };
    enum handover_kind    kind;
    struct span           body;
    size_t                lost = 0;

    while (handover_next(&records, &kind, &body) && kind != HANDOVER_END)
        if (kind == HANDOVER_PRESENCE)
            lost += !take_present_channel(&taker, body);
        else if (kind == HANDOVER_MEMBER)
            lost += !take_present_member(&taker, body);
    channel_name_unref(taker.channel);
    return lost;
}
