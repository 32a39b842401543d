#include "main/control.h"

#include "base/must.h"
#include "main/revocations_load.h"
#include "message/control_message.h"
#include "reactor/log.h"
#include "session/link_revoke.h"

enum { CONTROL_STRINGS_BYTES_MAX = 64 * 1024 };

/* --- revocations --------------------------------------------------------------------------------------------- */

static uint64_t revocation_digest(const struct control *control, const struct revocation *revocation)
{
    return (hash_bytes(control->sessions->hash_key, revocation->name) * 31 + revocation->second) * 31 + (uint64_t)revocation->kind;
}

uint64_t control_revoke(struct control *control, uint64_t seq, const struct revocation *revocation)
{
    struct control_done *done   = &control->done[seq % CONTROL_DONE_KEPT];
    const uint64_t       digest = revocation_digest(control, revocation);

    if (done->seq == seq && done->digest == digest)
        return done->cut;
    revocations_add(control->revocations, revocation);
    *done = (struct control_done){ seq, digest, session_worker_revoke(control->sessions, revocation) };
    counter_add(&control->revoked, 1);
    counter_add(&control->cut, done->cut);
    return done->cut;
}

/* {"user":"ann","until":1795297178,"reason":"…"} */
static bool read_revocation(struct control *control, const struct message *message, struct revocation *ret)
{
    static const struct json_limits limits = { .depth_kept = 1 };

    buf_clear(&control->strings);
    if (!json_parse(message_payload(message), &limits, &control->doc))
        return false;
    const struct json_token *root = json_root(&control->doc);
    if (!json_u64(json_member(&control->doc, root, SPAN("until")), &ret->second))
        return false;
    for (int kind = 0; kind < REVOKED_KIND_COUNT; kind++) {
        const struct json_token *name = json_member(&control->doc, root, span_str(revoked_kind_text(kind)));
        ret->kind                     = (enum revoked_kind)kind;
        if (name != NULL)
            return json_string(name, &control->strings, &ret->name) && ret->name.len > 0 &&
                   ret->name.len <= REVOKED_NAME_BYTES_MAX;
    }
    return false;
}

/* A type that this version does not know is of a newer node, and not for us. */
static void control_take_message(struct control *control, const struct message *message)
{
    struct revocation revocation;

    if (!span_eq(control_message_type(message), SPAN("revocation")))
        return;
    if (read_revocation(control, message, &revocation))
        control_revoke(control, message->seq, &revocation);
    else
        LOG(LOG_ERROR, "control_message_unreadable", log_u64("seq", message->seq));
}

/* --- the log ------------------------------------------------------------------------------------------------- */

static void control_read_rows(struct control *control)
{
    if (!control->must_read || control->is_reading)
        return;
    control->must_read  = false;
    control->is_reading = true;
    revocations_read_anew(control->shard, control);
}

void control_rows_came(struct control *control, bool are_all)
{
    control->is_reading = false;
    if (are_all)
        control_read_rows(control);
    else
        control->must_read = true;
}

/* If rows are being read now, that may have passed by what is missed here. */
static void control_take_gap(struct control *control, const struct gap *gap)
{
    if (gap->from <= gap->to)
        LOG(LOG_WARN, "control_messages_missed", log_u64("from", gap->from), log_u64("to", gap->to));
    control->must_read = true;
    control_read_rows(control);
}

void control_read(struct control *control, msec wall)
{
    struct entry entry;

    if (!control->is_ready)
        return;
    control->is_ready = false;
    for (;;) {
        switch (subscription_look(control->sub, wall, &entry)) {
        case LOOK_ENTRY: break;
        case LOOK_UNREAD: subscription_read(control->sub, &control->shard->hub); return;
        case LOOK_WAIT:
        case LOOK_READING: return;
        }
        if (entry.message != NULL)
            control_take_message(control, entry.message);
        else
            control_take_gap(control, &entry.gap);
        subscription_step(control->sub, &entry);
    }
}

bool control_take_ready(struct control *control, const struct subscription *sub)
{
    if (sub != control->sub)
        return false;
    control->is_ready = true;
    return true;
}

void control_tick(struct control *control, msec wall, int64_t token_life_s)
{
    int64_t oldest = wall / 1000 - token_life_s;

    if (oldest > 0)
        revocations_forget(control->revocations, (uint64_t)oldest);
    control_read_rows(control);
}

void control_open(struct control *control, struct shard *shard, struct session_worker *sessions,
                  struct revocations *revocations, struct start start)
{
    *control = (struct control){ .shard = shard, .sessions = sessions, .revocations = revocations };
    json_doc_init(&control->doc);
    buf_init(&control->strings, CONTROL_STRINGS_BYTES_MAX);
    must(channel_name_new(sessions->namespaces, sessions->hash_key, SPAN("sys:control"), &control->name) ==
         CHANNEL_NAME_OK);
    pool_init(&control->subs, sizeof(struct subscription));
    control->sub = pool_take(&control->subs);
    subscription_open(control->sub, &shard->hub, control->name, start, NULL);
}

void control_close(struct control *control, msec now)
{
    if (control->name == NULL)
        return;
    subscription_close(control->sub, &control->shard->hub, now);
    pool_give(&control->subs, control->sub);
    pool_fini(&control->subs);
    channel_name_unref(control->name);
    json_doc_fini(&control->doc);
    buf_fini(&control->strings);
    control->name = NULL;
}
