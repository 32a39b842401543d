#include "session/presence_follow.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/connection_key.h"
#include "session/client.h"

/* A channel that some links of the loop are told of. */
struct watched_channel {
    struct map_node      node;      /* in presence_follows.watched */
    struct channel_name *name;      /* owns a reference */
    struct list          watchers;  /* presence_follow.in_watched */
    uint64_t             count;     /* as it was told last */
};

struct presence_follow {
    struct map_node         node;         /* in presence_follows.follows */
    struct link            *link;
    struct reader_sub      *sub;
    struct watched_channel *watched;      /* NULL: it is not told */
    struct list             in_watched;
    struct list             in_behind;    /* in presence_follows.behind; unlinked: it was told all */
    bool                    is_asking : 1; /* it has not been told the number yet */
    uint8_t                 user_len, device_len;  /* 0: it is nobody */
    char                    names[];
};

/* With so much waiting for a client, it is told nothing more. */
enum { BEHIND_BYTES = CLIENT_WORDS_BYTES_REST };

static void presence_follows_told(struct presence_home *home, const struct presence_news *news);

void presence_follows_init(struct presence_follows *follows, unsigned loop)
{
    follows->home = (struct presence_home){ presence_follows_told, loop };
    map_init(&follows->follows);
    map_init(&follows->watched);
    list_init(&follows->behind);
}

void presence_follows_fini(struct presence_follows *follows)
{
    must(follows->follows.count == 0 && follows->watched.count == 0);
    map_fini(&follows->follows);
    map_fini(&follows->watched);
}

static struct presence_follows *presence_follows_of(const struct link *link)
{
    return &link->worker->presence;
}

/* --- who it is -------------------------------------------------------------------------------------------------- */

/* Polls that name no device can't be told apart. */
static struct span device_by_key(const struct link *link, struct buf *scratch)
{
    if (link->transport == TRANSPORT_POLL)
        return SPAN("poll");
    connection_key_put(scratch, link->key);
    return buf_span(scratch);
}

/* `scratch`: for a device that has no name. The user is empty: nobody. */
static struct presence_who presence_who_of(const struct link *link, struct buf *scratch)
{
    struct presence_who who = { .key = link->key, .transport = transport_text((enum transport)link->transport) };

    if (link_device(link) != NULL) {
        who.user   = device_link_user(link_device(link));
        who.device = device_link_device(link_device(link));
    } else if (link->holder != NULL) {
        who.user   = identity_user(link->holder);
        who.device = identity_device(link->holder);
    }
    if (who.user.len > 0 && who.device.len == 0)
        who.device = device_by_key(link, scratch);
    return who;
}

static struct presence_who presence_who_was(const struct presence_follow *follow)
{
    return (struct presence_who){ span_of(follow->names, follow->user_len),
                                  span_of(follow->names + follow->user_len, follow->device_len), follow->link->key,
                                  transport_text((enum transport)follow->link->transport) };
}

static void presence_send(struct presence_follow *follow, enum presence_change_kind kind, enum presence_end end)
{
    struct session_worker   *worker = follow->link->worker;
    struct presence_who      who    = presence_who_was(follow);
    bool                     is_of_device = kind == PRESENCE_COME || kind == PRESENCE_GO;

    if (is_of_device && who.user.len == 0)
        return;
    struct presence_change *change = presence_change_new(worker->presence.presence, kind,
                                                         subscription_name(&follow->sub->sub), is_of_device ? &who : NULL);
    change->end  = end;
    change->home = &worker->presence.home;
    shard_send_own(worker->shard, &change->command);
}

/* --- subscriptions ---------------------------------------------------------------------------------------------- */

static uint64_t presence_follow_hash(const struct reader_sub *sub)
{
    return (uint64_t)(uintptr_t)sub * UINT64_C(0x9e3779b97f4a7c15) >> 16;
}

static bool presence_follow_is(const struct map_node *node, const void *key)
{
    return container_of(node, struct presence_follow, node)->sub == key;
}

static struct presence_follow *presence_follow_find(const struct link *link, const struct reader_sub *sub)
{
    struct map_node *node = map_find(&presence_follows_of(link)->follows, presence_follow_hash(sub), presence_follow_is,
                                     sub);

    return node == NULL ? NULL : container_of(node, struct presence_follow, node);
}

static struct presence_follow *presence_follow_new(struct link *link, struct reader_sub *sub)
{
    struct buf scratch;

    buf_init(&scratch, 2 * CONNECTION_KEY_DIGITS);
    struct presence_who     who    = presence_who_of(link, &scratch);
    struct presence_follow *follow = calloc(1, sizeof *follow + who.user.len + who.device.len);
    must(follow != NULL);
    follow->link       = link;
    follow->sub        = sub;
    follow->user_len   = (uint8_t)who.user.len;
    follow->device_len = (uint8_t)who.device.len;
    if (who.user.len > 0) {
        memcpy(follow->names, who.user.at, who.user.len);
        memcpy(follow->names + who.user.len, who.device.at, who.device.len);
    }
    buf_fini(&scratch);
    map_add(&presence_follows_of(link)->follows, &follow->node, presence_follow_hash(sub));
    return follow;
}

/* --- being told ------------------------------------------------------------------------------------------------- */

static bool watched_channel_is(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct watched_channel, node)->name, key);
}

static struct watched_channel *watched_channel_find(const struct presence_follows *follows,
                                                    const struct channel_name *name)
{
    struct map_node *node = map_find(&follows->watched, name->hash, watched_channel_is, name);

    return node == NULL ? NULL : container_of(node, struct watched_channel, node);
}

static struct watched_channel *watched_channel_get(struct presence_follows *follows, struct channel_name *name)
{
    struct watched_channel *watched = watched_channel_find(follows, name);

    if (watched != NULL)
        return watched;
    watched = calloc(1, sizeof *watched);
    must(watched != NULL);
    watched->name = channel_name_ref(name);
    list_init(&watched->watchers);
    map_add(&follows->watched, &watched->node, name->hash);
    return watched;
}

static void presence_follow_ask_by(struct presence_follow *follow, enum presence_change_kind kind)
{
    struct presence_follows *follows = presence_follows_of(follow->link);

    follow->watched   = watched_channel_get(follows, subscription_name(&follow->sub->sub));
    follow->is_asking = kind == PRESENCE_WATCH;
    list_push(&follow->watched->watchers, &follow->in_watched);
    presence_send(follow, kind, PRESENCE_END_NOW);
}

static void presence_follow_ask(struct presence_follow *follow)
{
    presence_follow_ask_by(follow, PRESENCE_WATCH);
}

static void presence_follow_unwatch(struct presence_follow *follow)
{
    struct presence_follows *follows = presence_follows_of(follow->link);
    struct watched_channel  *watched = follow->watched;

    if (watched == NULL)
        return;
    follow->watched = NULL;
    list_take(&follow->in_watched);
    list_take(&follow->in_behind);
    presence_send(follow, PRESENCE_UNWATCH, PRESENCE_END_NOW);
    if (!list_is_empty(&watched->watchers))
        return;
    map_take(&follows->watched, &watched->node);
    channel_name_unref(watched->name);
    free(watched);
}

static void presence_tell_link(struct presence_follow *follow, const struct presence_note *note)
{
    struct presence_follows *follows = presence_follows_of(follow->link);
    struct link             *link    = follow->link;

    if (link->is_over || link->kind->presence == NULL || list_is_linked(&follow->in_behind))
        return;
    if (link_waiting_bytes(link) > BEHIND_BYTES) {
        list_push(&follows->behind, &follow->in_behind);
        return;
    }
    counter_add(&follows->frames, 1);
    link->kind->presence(link, note);
}

static void presence_tell_watchers(const struct watched_channel *watched, const struct presence_note *note)
{
    for (const struct list *at = watched->watchers.next; at != &watched->watchers; at = at->next) {
        struct presence_follow *follow = container_of(at, struct presence_follow, in_watched);
        if (follow->is_asking == note->is_beginning)
            presence_tell_link(follow, note);
    }
}

/* Those that were told the number here are told changes from now on. */
static void watched_channel_begin(struct watched_channel *watched)
{
    for (struct list *at = watched->watchers.next; at != &watched->watchers; at = at->next)
        container_of(at, struct presence_follow, in_watched)->is_asking = false;
}

static void presence_follows_told(struct presence_home *home, const struct presence_news *news)
{
    struct presence_follows *follows = container_of(home, struct presence_follows, home);
    struct watched_channel  *watched = watched_channel_find(follows, news->name);

    if (watched == NULL)
        return;
    for (uint32_t i = 0; i < news->note_count; i++)
        presence_tell_watchers(watched, &news->notes[i]);
    watched->count = news->notes[news->note_count - 1].count;
    if (news->notes[0].is_beginning)
        watched_channel_begin(watched);
}

void presence_follows_tick(struct session_worker *worker)
{
    struct list *behind = &worker->presence.behind;

    for (struct list *at = behind->next, *next; at != behind; at = next) {
        struct presence_follow *follow = container_of(at, struct presence_follow, in_behind);
        next                           = at->next;
        if (link_waiting_bytes(follow->link) > BEHIND_BYTES)
            continue;
        list_take(at);
        presence_tell_link(follow, &(struct presence_note){ .channel = channel_name_span(follow->watched->name),
                                                            .count = follow->watched->count });
    }
}

static bool presence_still_may(const struct link *link, const struct reader_sub *sub)
{
    struct verdict verdict = link->holder == NULL ? (struct verdict){ 403, NULL, false }
                                                  : presence_may_watch(link->holder, subscription_name(&sub->sub));

    return verdict.status == 0 || (verdict.needs_member && reader_sub_is_of_member(sub));
}

/* --- subscriptions that begin and end --------------------------------------------------------------------------- */

void presence_follow_begin(struct link *link, struct reader_sub *sub)
{
    if (presence_follows_of(link)->presence == NULL || presence_follow_find(link, sub) != NULL)
        return;
    struct presence_follow *follow = presence_follow_new(link, sub);
    presence_send(follow, PRESENCE_COME, PRESENCE_END_NOW);
    if (sub->sub.is_watched)
        presence_follow_ask(follow);
}

bool presence_follow_is_told(const struct link *link, const struct reader_sub *sub)
{
    const struct presence_follow *follow = subscription_has_presence(&sub->sub) ? presence_follow_find(link, sub) : NULL;

    return follow != NULL && follow->watched != NULL && !follow->is_asking && !list_is_linked(&follow->in_behind);
}

void presence_follow_go_on(struct link *link, struct reader_sub *sub, bool is_told)
{
    if (presence_follows_of(link)->presence == NULL)
        return;
    struct presence_follow *follow = presence_follow_new(link, sub);
    presence_send(follow, PRESENCE_COME, PRESENCE_END_NOW);
    if (sub->sub.is_watched)
        presence_follow_ask_by(follow, is_told ? PRESENCE_WATCH_ON : PRESENCE_WATCH);
}

void presence_follow_watch(struct link *link, struct reader_sub *sub)
{
    struct presence_follow *follow = presence_follow_find(link, sub);

    sub->sub.is_watched = true;
    if (follow != NULL && follow->watched == NULL)
        presence_follow_ask(follow);
}

void presence_follow_watch_all(struct link *link)
{
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        if (subscription_has_presence(&sub->sub) && presence_still_may(link, sub))
            presence_follow_watch(link, sub);
}

static void presence_follow_drop(struct presence_follow *follow, enum presence_end end)
{
    presence_follow_unwatch(follow);
    presence_send(follow, PRESENCE_GO, end);
    map_take(&presence_follows_of(follow->link)->follows, &follow->node);
    free(follow);
}

static void presence_follow_end_sub(struct link *link, struct reader_sub *sub, enum presence_end end)
{
    struct presence_follow *follow = presence_follow_find(link, sub);

    if (follow != NULL)
        presence_follow_drop(follow, end);
}

void presence_follow_end(struct link *link, struct reader_sub *sub)
{
    presence_follow_end_sub(link, sub, PRESENCE_END_NOW);
}

/* --- links that change and end ---------------------------------------------------------------------------------- */

static bool presence_is_same(const struct presence_follow *follow, const struct presence_who *who)
{
    struct presence_who was = presence_who_was(follow);

    return span_eq(was.user, who->user) && span_eq(was.device, who->device);
}

/* Another token may take the right to be told away. */
static void presence_follow_review(struct presence_follow *follow, struct buf *scratch)
{
    struct link        *link = follow->link;
    struct reader_sub  *sub  = follow->sub;
    struct presence_who who  = presence_who_of(link, scratch);

    if (follow->watched != NULL && !presence_still_may(link, sub)) {
        sub->sub.is_watched = false;
        presence_follow_unwatch(follow);
    }
    if (presence_is_same(follow, &who))
        return;
    presence_follow_drop(follow, PRESENCE_END_NOW);
    presence_follow_begin(link, sub);
}

void presence_follow_rename(struct link *link)
{
    struct buf scratch;

    if (presence_follows_of(link)->follows.count == 0)
        return;
    buf_init(&scratch, 2 * CONNECTION_KEY_DIGITS);
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub)) {
        struct presence_follow *follow = presence_follow_find(link, sub);
        buf_clear(&scratch);
        if (follow != NULL)
            presence_follow_review(follow, &scratch);
    }
    buf_fini(&scratch);
}

static void presence_send_all(struct link *link, enum presence_change_kind kind)
{
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub)) {
        struct presence_follow *follow = presence_follow_find(link, sub);
        if (follow == NULL)
            continue;
        presence_send(follow, kind, PRESENCE_END_NOW);
        link->is_quiet = kind == PRESENCE_GO;
    }
}

void presence_follow_rest(struct link *link)
{
    if (!link->is_quiet)
        presence_send_all(link, PRESENCE_GO);
}

void presence_follow_wake(struct link *link)
{
    link->is_quiet = false;
    presence_send_all(link, PRESENCE_COME);
}

static enum presence_end presence_end_of(const struct link *link)
{
    if (link->is_farewell)
        return PRESENCE_END_NOW;
    return link->transport == TRANSPORT_POLL ? PRESENCE_END_POLLED : PRESENCE_END_CUT;
}

void presence_follow_end_all(struct link *link)
{
    if (presence_follows_of(link)->follows.count == 0)
        return;
    for (struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        presence_follow_end_sub(link, sub, presence_end_of(link));
}

bool presence_follow_is_asking(const struct link *link)
{
    if (presence_follows_of(link)->watched.count == 0)
        return false;
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub)) {
        const struct presence_follow *follow = presence_follow_find(link, sub);
        if (follow != NULL && follow->watched != NULL && follow->is_asking)
            return true;
    }
    return false;
}

/* --- rights ----------------------------------------------------------------------------------------------------- */

struct verdict presence_may_watch(const struct identity *identity, const struct channel_name *name)
{
    if (!name->space->has_presence)
        return (struct verdict){ 409, PRESENCE_IS_OFF, false };
    return may(identity, name, ACTION_PRESENCE);
}

/* --- words ------------------------------------------------------------------------------------------------------ */

const char *presence_note_type(const struct presence_note *note)
{
    return note->user.len == 0 ? "presence" : note->is_join ? "join" : "leave";
}

void presence_note_put(struct buf *buf, const struct presence_note *note)
{
    buf_putf(buf, "{\"type\":\"%s\",\"channel\":", presence_note_type(note));
    json_put_string(buf, note->channel);
    if (note->user.len > 0) {
        buf_put_lit(buf, ",\"user\":");
        json_put_string(buf, note->user);
        buf_put_lit(buf, ",\"device\":");
        json_put_string(buf, note->device);
    }
    buf_put_lit(buf, ",\"count\":");
    buf_put_u64(buf, note->count);
}
