/* engine_publish.c - the answers to publishes. */
#include "engine_priv.h"

enum { PUT_OFF_MS = 500, PUT_OFF_DOUBLINGS = 5 };

/* `answer` needs no channel. Frees the publish. */
void engine_published(struct engine *engine, struct outgoing *outgoing, const struct lw_published *answer)
{
    struct lw_published published = *answer;

    published.channel = outgoing->channel.at;
    list_take(&outgoing->link);
    inbox_answered(engine->inbox, outgoing->size);
    if (outgoing->answer != NULL)
        outgoing->answer(outgoing->arg, &published);
    outgoing_free(outgoing);
}

/* Most answers come in the order of the publishes, so the one is among the first. */
static struct outgoing *find(const struct engine *engine, uint64_t ref)
{
    for (struct list *link = engine->publishes.next; link != &engine->publishes; link = link->next) {
        struct outgoing *outgoing = container_of(link, struct outgoing, link);
        if (outgoing->ref == ref)
            return outgoing;
    }
    return NULL;
}

void engine_on_published(struct engine *engine, const struct bin_frame *frame)
{
    struct outgoing *outgoing = find(engine, bin_number(frame, BIN_REF));

    pace_answered(&engine->publish_pace);
    if (outgoing == NULL)
        return;
    engine_published(engine, outgoing, &(struct lw_published){
        .epoch       = bin_number(frame, BIN_EPOCH),
        .seq         = bin_number(frame, BIN_SEQ),
        .id          = bin_number(frame, BIN_ID),
        .time_ms     = (int64_t)bin_number(frame, BIN_TIME),
        .is_replayed = bin_has(frame, BIN_REPLAYED) && !outgoing->is_key_made,
    });
}

static bool is_for_now(unsigned code)
{
    return code == 429 || code == 503 || code == 507;
}

/* A limit of the server says when; the others wait, too (pace.h). */
static void put_off_as_told(struct engine *engine, struct outgoing *outgoing, msec after_ms, msec now)
{
    pace_refused(&engine->publish_pace, after_ms, now);
    outgoing->is_sent    = false;
    outgoing->not_before = now + after_ms;
}

static void put_off(struct engine *engine, struct outgoing *outgoing, msec now)
{
    msec most = (msec)PUT_OFF_MS << (outgoing->tries < PUT_OFF_DOUBLINGS ? outgoing->tries : PUT_OFF_DOUBLINGS);

    outgoing->tries++;
    outgoing->is_sent    = false;
    outgoing->not_before = now + most / 2 + (msec)rng_below(&engine->rng, (uint64_t)most / 2 + 1);
}

void engine_on_publish_error(struct engine *engine, const struct bin_frame *frame, msec now)
{
    struct outgoing *outgoing = find(engine, bin_number(frame, BIN_REF));
    unsigned         code     = (unsigned)bin_number(frame, BIN_CODE);

    if (outgoing != NULL && code == 429 && bin_has(frame, BIN_AFTER_MS)) {
        put_off_as_told(engine, outgoing, (msec)(bin_number(frame, BIN_AFTER_MS) % (24 * 3600 * 1000)), now);
        return;
    }
    pace_answered(&engine->publish_pace);
    if (outgoing == NULL)
        return;
    if (is_for_now(code)) {
        put_off(engine, outgoing, now);
        return;
    }
    buf_clear(&engine->names);
    buf_put(&engine->names, bin_bytes(frame, BIN_REASON));
    buf_putc(&engine->names, '\0');
    engine_published(engine, outgoing, &(struct lw_published){ .code = code, .reason = engine->names.at });
}
