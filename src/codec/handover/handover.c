#include "codec/handover/handover.h"

#include <stdlib.h>

#include "base/must.h"

/* Each struct is described once, for both directions: by a function that passes its fields, in their order. */
struct pass {
    struct buf *out;     /* NULL: it reads */
    struct span in;
    bool        is_bad;  /* what is read is too short, or no such thing */
};

/* --- numbers and texts ------------------------------------------------------------------------------------------ */

static void pass_number(struct pass *pass, uint64_t *value, size_t bytes)
{
    if (pass->out != NULL) {
        for (size_t i = 0; i < bytes; i++)
            buf_putc(pass->out, (char)(*value >> (8 * i)));
        return;
    }
    *value = 0;
    if (pass->in.len < bytes) {
        pass->is_bad = true;
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        *value |= (uint64_t)(unsigned char)pass->in.at[i] << (8 * i);
    pass->in = span_skip(pass->in, bytes);
}

static void pass_u8(struct pass *pass, uint8_t *value)
{
    uint64_t number = *value;
    pass_number(pass, &number, 1);
    *value = (uint8_t)number;
}

static void pass_u32(struct pass *pass, uint32_t *value)
{
    uint64_t number = *value;
    pass_number(pass, &number, 4);
    *value = (uint32_t)number;
}

static void pass_u64(struct pass *pass, uint64_t *value)
{
    pass_number(pass, value, 8);
}

static void pass_span(struct pass *pass, struct span *span)
{
    uint32_t len = (uint32_t)span->len;

    pass_u32(pass, &len);
    if (pass->out != NULL) {
        buf_put(pass->out, *span);
        return;
    }
    if (pass->is_bad || len > pass->in.len) {
        pass->is_bad = true;
        *span        = SPAN("");
        return;
    }
    *span    = span_of(pass->in.at, len);
    pass->in = span_skip(pass->in, len);
}

/* What is read has to be below the bound. */
static void pass_bound(struct pass *pass, uint64_t value, uint64_t bound)
{
    if (pass->out != NULL)
        must(value < bound);
    else if (value >= bound)
        pass->is_bad = true;
}

/* --- the structs ------------------------------------------------------------------------------------------------ */

static void pass_grants(struct pass *pass, struct handover_identity *identity)
{
    pass_u32(pass, &identity->grant_count);
    pass_bound(pass, identity->grant_count, HANDOVER_GRANTS_MAX + 1);
    for (uint32_t i = 0; i < identity->grant_count && !pass->is_bad; i++) {
        pass_span(pass, &identity->grants[i].match);
        pass_u32(pass, &identity->grants[i].can);
    }
    pass_u32(pass, &identity->follow_count);
    pass_bound(pass, identity->follow_count, (uint64_t)identity->grant_count + 1);
}

static void pass_identity(struct pass *pass, struct handover_identity *identity)
{
    pass_u8(pass, &identity->origin);
    pass_bound(pass, identity->origin, HANDOVER_ORIGINS);
    pass_span(pass, &identity->section);
    pass_span(pass, &identity->print);
    pass_bound(pass, identity->print.len, HANDOVER_PRINT_BYTES + 1);
    pass_span(pass, &identity->from);
    pass_span(pass, &identity->device);
    pass_bound(pass, identity->device.len, UINT8_MAX + 1);
    pass_span(pass, &identity->jti);
    pass_bound(pass, identity->from.len, UINT16_MAX + 1);
    pass_bound(pass, identity->jti.len, UINT16_MAX + 1);
    pass_u32(pass, &identity->rights);
    pass_bound(pass, identity->rights, UINT8_MAX + 1);
    pass_u64(pass, &identity->issued_at);
    pass_u64(pass, &identity->expires_at);
    pass_bound(pass, identity->issued_at, INT64_MAX);
    pass_bound(pass, identity->expires_at, INT64_MAX);
    pass_grants(pass, identity);
}

static void pass_heartbeat(struct pass *pass, struct handover_link *link)
{
    pass_u32(pass, &link->heard_at);
    pass_u32(pass, &link->asked_at);
    pass_u32(pass, &link->next_ms);
    pass_u8(pass, &link->is_asked);
    pass_u8(pass, &link->beats);
    pass_bound(pass, link->asked_at, UINT64_C(1) << 31);
    pass_bound(pass, link->next_ms, UINT64_C(1) << 27);
    pass_bound(pass, link->is_asked, 2);
    pass_bound(pass, link->beats, 32);
}

static void pass_session_of_link(struct pass *pass, struct handover_link *link)
{
    pass_span(pass, &link->user);
    pass_span(pass, &link->device);
    pass_u64(pass, &link->generation);
    pass_u64(pass, &link->since);
    pass_bound(pass, link->since, INT64_MAX);
    pass_u32(pass, &link->bound_count);
    pass_bound(pass, link->bound_count, HANDOVER_BOUNDS_MAX + 1);
}

static void pass_link(struct pass *pass, struct handover_link *link)
{
    pass_u8(pass, &link->transport);
    pass_bound(pass, link->transport, HANDOVER_TRANSPORTS);
    pass_u32(pass, &link->flags);
    pass_bound(pass, link->flags, HANDOVER_LINK_FLAGS + 1);
    pass_u64(pass, &link->key);
    pass_u32(pass, &link->network);
    pass_heartbeat(pass, link);
    pass_span(pass, &link->words);
    pass_span(pass, &link->gathered);
    pass_u64(pass, &link->gathered_since);
    pass_span(pass, &link->rest);
    pass_span(pass, &link->fields);
    pass_span(pass, &link->peer);
    pass_u8(pass, &link->window);
    pass_bound(pass, link->window, HANDOVER_WINDOWS);
    pass_span(pass, &link->ws);
    pass_u64(pass, &link->timer_at);
    pass_u64(pass, &link->token_set);
    pass_span(pass, &link->boundary);
    if ((link->flags & HANDOVER_HAS_DEVICE) != 0)
        pass_session_of_link(pass, link);
    if ((link->flags & HANDOVER_HAS_HOLDER) != 0)
        pass_identity(pass, &link->holder);
    pass_u32(pass, &link->sub_count);
    pass_bound(pass, link->sub_count, HANDOVER_SUBS_MAX + 1);
}

static void pass_sub(struct pass *pass, struct handover_sub *sub)
{
    pass_span(pass, &sub->channel);
    pass_u8(pass, &sub->start);
    pass_bound(pass, sub->start, HANDOVER_STARTS);
    pass_u64(pass, &sub->seq);
    pass_bound(pass, sub->seq, UINT64_MAX);
    pass_u64(pass, &sub->epoch);
    pass_u32(pass, &sub->flags);
    pass_bound(pass, sub->flags, HANDOVER_SUB_FLAGS + 1);
    pass_u32(pass, &sub->quiet);
}

static void pass_group_bound(struct pass *pass, struct handover_bound *bound)
{
    pass_u8(pass, &bound->kind);
    pass_bound(pass, bound->kind, HANDOVER_BOUND_KINDS);
    pass_span(pass, &bound->channel);
    pass_span(pass, &bound->spans);
}

static void pass_http(struct pass *pass, struct handover_http *http)
{
    pass_u32(pass, &http->served);
    pass_u32(pass, &http->flags);
    pass_bound(pass, http->flags, 2);
    pass_span(pass, &http->peer);
    pass_span(pass, &http->in);
    pass_span(pass, &http->out);
}

static void pass_loop(struct pass *pass, struct handover_loop *loop)
{
    pass_u32(pass, &loop->key_number);
}

static void pass_store(struct pass *pass, struct handover_store *store)
{
    pass_u32(pass, &store->is_durable);
    pass_bound(pass, store->is_durable, 2);
    pass_u64(pass, &store->epoch_next);
    pass_u64(pass, &store->id_next);
}

static void pass_channel(struct pass *pass, struct handover_channel *channel)
{
    pass_span(pass, &channel->name);
    pass_u64(pass, &channel->epoch);
    pass_u64(pass, &channel->head);
}

static void pass_message(struct pass *pass, struct handover_message *message)
{
    pass_u8(pass, &message->kind);
    pass_u64(pass, &message->seq);
    pass_u64(pass, &message->id);
    pass_u64(pass, &message->target);
    pass_u64(pass, &message->time);
    pass_u64(pass, &message->expires_at);
    pass_bound(pass, message->time, INT64_MAX);
    pass_bound(pass, message->expires_at, INT64_MAX);
    pass_span(pass, &message->payload);
    pass_span(pass, &message->media);
    pass_span(pass, &message->from);
    pass_span(pass, &message->event);
    pass_span(pass, &message->collapse_key);
}

static void pass_session(struct pass *pass, struct handover_session *session)
{
    pass_span(pass, &session->user);
    pass_span(pass, &session->device);
    pass_span(pass, &session->device_class);
    pass_bound(pass, session->user.len, UINT8_MAX + 1);
    pass_bound(pass, session->device.len, UINT8_MAX + 1);
    pass_u64(pass, &session->generation);
    pass_u64(pass, &session->since);
    pass_u64(pass, &session->seen);
    pass_bound(pass, session->since, INT64_MAX);
    pass_bound(pass, session->seen, INT64_MAX);
    pass_u8(pass, &session->from_back);
    pass_u32(pass, &session->flags);
    pass_bound(pass, session->flags, HANDOVER_SESSION_FLAGS + 1);
}

static void pass_place(struct pass *pass, struct handover_place *place)
{
    pass_span(pass, &place->channel);
    pass_u64(pass, &place->epoch);
    pass_u64(pass, &place->seq);
    pass_bound(pass, place->seq, UINT64_C(1) << HANDOVER_SEQ_BITS);
    pass_u32(pass, &place->flags);
    pass_bound(pass, place->flags, HANDOVER_PLACE_FLAGS + 1);
}

static void pass_presence(struct pass *pass, struct handover_presence *presence)
{
    pass_span(pass, &presence->channel);
    pass_u32(pass, &presence->is_over);
    pass_bound(pass, presence->is_over, 2);
}

static void pass_member(struct pass *pass, struct handover_member *member)
{
    pass_span(pass, &member->user);
    pass_span(pass, &member->device);
    pass_span(pass, &member->transport);
    pass_u64(pass, &member->since);
    pass_bound(pass, member->since, INT64_MAX);
}

static void pass_hello(struct pass *pass, struct handover_hello *hello)
{
    pass_u32(pass, &hello->version);
    if (pass->out == NULL && hello->version != HANDOVER_VERSION) {
        pass->in = SPAN("");
        return;
    }
    pass_u32(pass, &hello->loops);
    pass_span(pass, &hello->program);
    pass_span(pass, &hello->data);
}

static void pass_refusal(struct pass *pass, struct handover_refusal *refusal)
{
    pass_span(pass, &refusal->why);
}

static void pass_offer(struct pass *pass, struct handover_offer *offer)
{
    pass_span(pass, &offer->program);
    pass_u64(pass, &offer->hash_keys[0]);
    pass_u64(pass, &offer->hash_keys[1]);
    pass_u64(pass, &offer->incarnation);
    pass_u64(pass, &offer->started_wall);
    pass_bound(pass, offer->started_wall, INT64_MAX);
    pass_u32(pass, &offer->listen_count);
}

static void pass_listen(struct pass *pass, struct handover_listen *listen)
{
    pass_span(pass, &listen->scheme);
    pass_span(pass, &listen->address);
}

static void pass_part(struct pass *pass, struct handover_part *part)
{
    pass_u32(pass, &part->number);
    pass_u32(pass, &part->sockets);
}

/* --- records ---------------------------------------------------------------------------------------------------- */

static size_t record_begin(struct buf *buf, enum handover_kind kind)
{
    size_t   at  = buf->len;
    uint32_t len = 0;

    buf_putc(buf, (char)kind);
    pass_u32(&(struct pass){ .out = buf }, &len);
    return at;
}

static void record_end(struct buf *buf, size_t at)
{
    if (buf_is_over(buf))
        return;
    size_t len = buf->len - at - HANDOVER_RECORD_HEAD;

    must(len <= HANDOVER_RECORD_MAX);
    for (size_t i = 0; i < 4; i++)
        buf->at[at + 1 + i] = (char)(len >> (8 * i));
}

void handover_put_link(struct buf *buf, const struct handover_link *link)
{
    struct handover_link copy = *link;

    record_begin(buf, HANDOVER_LINK);
    pass_link(&(struct pass){ .out = buf }, &copy);
}

void handover_put_sub(struct buf *buf, const struct handover_sub *sub)
{
    struct handover_sub copy = *sub;

    pass_sub(&(struct pass){ .out = buf }, &copy);
}

void handover_put_bound(struct buf *buf, const struct handover_bound *bound)
{
    struct handover_bound copy = *bound;

    pass_group_bound(&(struct pass){ .out = buf }, &copy);
}

void handover_end_link(struct buf *buf, size_t at)
{
    record_end(buf, at);
}

#define PUT_RECORD(name, its_kind)                                                                                     \
    void handover_put_##name(struct buf *buf, const struct handover_##name *value)                                    \
    {                                                                                                                  \
        struct handover_##name copy = *value;                                                                          \
        size_t                 at   = record_begin(buf, its_kind);                                                     \
        pass_##name(&(struct pass){ .out = buf }, &copy);                                                              \
        record_end(buf, at);                                                                                           \
    }                                                                                                                  \
    bool handover_get_##name(struct span body, struct handover_##name *ret)                                           \
    {                                                                                                                  \
        struct pass pass = { .in = body };                                                                             \
        *ret = (struct handover_##name){ 0 };                                                                          \
        pass_##name(&pass, ret);                                                                                       \
        return !pass.is_bad && pass.in.len == 0;                                                                       \
    }

PUT_RECORD(http, HANDOVER_HTTP)
PUT_RECORD(loop, HANDOVER_LOOP)
PUT_RECORD(store, HANDOVER_STORE)
PUT_RECORD(channel, HANDOVER_CHANNEL)
PUT_RECORD(message, HANDOVER_MESSAGE)
PUT_RECORD(session, HANDOVER_SESSION)
PUT_RECORD(place, HANDOVER_PLACE)
PUT_RECORD(presence, HANDOVER_PRESENCE)
PUT_RECORD(member, HANDOVER_MEMBER)

PUT_RECORD(hello, HANDOVER_HELLO)
PUT_RECORD(refusal, HANDOVER_REFUSAL)
PUT_RECORD(offer, HANDOVER_OFFER)
PUT_RECORD(listen, HANDOVER_LISTEN)
PUT_RECORD(part, HANDOVER_PART)

void handover_put_word(struct buf *buf, enum handover_kind word)
{
    record_end(buf, record_begin(buf, word));
}

void handover_put_end(struct buf *buf, uint64_t count)
{
    size_t at = record_begin(buf, HANDOVER_END);

    pass_u64(&(struct pass){ .out = buf }, &count);
    record_end(buf, at);
}

bool handover_next(struct span *bytes, enum handover_kind *ret_kind, struct span *ret_body)
{
    struct pass pass = { .in = *bytes };
    uint8_t     kind = 0;
    uint32_t    len  = 0;

    pass_u8(&pass, &kind);
    pass_u32(&pass, &len);
    if (pass.is_bad || kind < HANDOVER_LINK || kind >= HANDOVER_KINDS || len > HANDOVER_RECORD_MAX || len > pass.in.len)
        return false;
    *ret_kind = (enum handover_kind)kind;
    *ret_body = span_head(pass.in, len);
    *bytes    = span_skip(pass.in, len);
    return true;
}

bool handover_get_link(struct span *body, struct handover_link *ret)
{
    struct pass pass = { .in = *body };

    *ret = (struct handover_link){ 0 };
    pass_link(&pass, ret);
    *body = pass.in;
    return !pass.is_bad;
}

bool handover_get_sub(struct span *body, struct handover_sub *ret)
{
    struct pass pass = { .in = *body };

    pass_sub(&pass, ret);
    *body = pass.in;
    return !pass.is_bad;
}

bool handover_get_bound(struct span *body, struct handover_bound *ret)
{
    struct pass pass = { .in = *body };

    pass_group_bound(&pass, ret);
    *body = pass.in;
    return !pass.is_bad;
}

/* --- all of it -------------------------------------------------------------------------------------------------- */

static bool link_record_is_whole(struct span body)
{
    struct handover_link  link;
    struct handover_sub   sub;
    struct handover_bound bound;

    if (!handover_get_link(&body, &link))
        return false;
    for (uint32_t i = 0; i < link.sub_count; i++)
        if (!handover_get_sub(&body, &sub))
            return false;
    for (uint32_t i = 0; i < link.bound_count; i++)
        if (!handover_get_bound(&body, &bound))
            return false;
    return body.len == 0;
}

static bool record_is_whole(enum handover_kind kind, struct span body)
{
    struct handover_http    http;
    struct handover_loop    loop;
    struct handover_store   store;
    struct handover_channel channel;
    struct handover_message message;
    struct handover_session session;
    struct handover_place   place;
    struct handover_presence presence;
    struct handover_member  member;

    return kind == HANDOVER_LINK      ? link_record_is_whole(body)
           : kind == HANDOVER_HTTP    ? handover_get_http(body, &http)
           : kind == HANDOVER_LOOP    ? handover_get_loop(body, &loop)
           : kind == HANDOVER_STORE   ? handover_get_store(body, &store)
           : kind == HANDOVER_CHANNEL ? handover_get_channel(body, &channel)
           : kind == HANDOVER_MESSAGE ? handover_get_message(body, &message)
           : kind == HANDOVER_SESSION ? handover_get_session(body, &session)
           : kind == HANDOVER_PLACE   ? handover_get_place(body, &place)
           : kind == HANDOVER_PRESENCE ? handover_get_presence(body, &presence)
           : kind == HANDOVER_MEMBER  ? handover_get_member(body, &member)
                                      : false;  /* END, and what is no part of a state */
}

bool handover_check(struct span bytes, size_t *ret_links)
{
    enum handover_kind kind;
    struct span        body;
    uint64_t           count = 0, said = 0;
    size_t             links = 0;

    while (handover_next(&bytes, &kind, &body)) {
        if (kind == HANDOVER_END) {
            struct pass pass = { .in = body };
            pass_u64(&pass, &said);
            *ret_links = links;
            return !pass.is_bad && pass.in.len == 0 && bytes.len == 0 && said == count;
        }
        if (!record_is_whole(kind, body))
            return false;
        count++;
        links += kind == HANDOVER_LINK || kind == HANDOVER_HTTP;
    }
    return false;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

/* Writes the keys of the links, if there is room for them, and gives how many there are. */
static size_t keys_of(const struct span *parts, size_t count, uint64_t *keys)
{
    enum handover_kind kind;
    struct span        body;
    size_t             found = 0;

    for (size_t i = 0; i < count; i++)
        for (struct span rest = parts[i]; handover_next(&rest, &kind, &body);) {
            struct handover_link link;
            if (kind != HANDOVER_LINK)
                continue;
            if (keys != NULL)
                keys[found] = handover_get_link(&body, &link) ? link.key : 0;
            found++;
        }
    return found;
}

static int key_order(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

bool handover_keys_differ(const struct span *parts, size_t count)
{
    const size_t found  = keys_of(parts, count, NULL);
    uint64_t    *keys   = calloc(found + 1, sizeof keys[0]);  /* the first one is 0, so that a key of 0 is a second one */
    bool         differ = true;

    must(keys != NULL);
    keys_of(parts, count, keys + 1);
    qsort(keys, found + 1, sizeof keys[0], key_order);
    for (size_t i = 1; i <= found; i++)
        differ &= keys[i] != keys[i - 1];
    free(keys);
    return differ;
}
