/* engine_tell.c - messages and gaps on their way to the application: each seq once, in order. */
#include "base/must.h"
#include "engine_priv.h"

/* --- the channel ---------------------------------------------------------------------------------------------------- */

/* A channel that nobody asked for is one of the session's own, or the connection's. NULL: nothing of it is to be told. `seq`: behind it
 * the server goes on. */
static struct followed *channel_of(struct engine *engine, struct span name, uint64_t epoch, uint64_t seq)
{
    struct followed *followed = followed_find(&engine->table, name);

    if (followed != NULL && followed->is_on_link)
        followed_on_link(followed, epoch, seq);
    if (followed == NULL && (engine->has_session || followed_ends_with_link(name))) {
        followed         = followed_add(&engine->table, name);
        followed->is_own = true;
    }
    if (followed != NULL && followed->is_own && followed->state == FOLLOWED_IDLE)
        followed->state = FOLLOWED_ON;
    if (followed == NULL || followed->leaving > 0 || followed->state == FOLLOWED_SNAPSHOT ||
        followed->state == FOLLOWED_LEAVING)
        return NULL;
    return followed;
}

static bool check_verdict(struct engine *engine, enum followed_verdict verdict, msec now)
{
    if (verdict == FOLLOWED_HOLE)
        engine_fail(engine, 0, SPAN("the server left out a message; asked again on a new link"), now);
    return verdict != FOLLOWED_HOLE;
}

static void acknowledge(struct engine *engine, struct followed *followed, uint64_t seq)
{
    if (engine->options.ack_mode == LW_ACK_AFTER_CALLBACK && engine->has_session)
        followed_ack(&engine->table, followed, seq);
}

/* --- control messages -------------------------------------------------------------------------------------------------- */

#define CONTROL_HEAD SPAN("application/vnd.longwire.")
#define CONTROL_TAIL SPAN("+json")

/* "membership" of "application/vnd.longwire.membership+json"; empty: an ordinary message. */
static struct span control_type(struct span media)
{
    size_t around = CONTROL_HEAD.len + CONTROL_TAIL.len;

    if (media.len <= around || !span_starts(media, CONTROL_HEAD) ||
        !span_eq(span_skip(media, media.len - CONTROL_TAIL.len), CONTROL_TAIL))
        return SPAN("");
    return span_of(media.at + CONTROL_HEAD.len, media.len - around);
}

static struct span member_text(struct engine *engine, struct buf *text, struct span name)
{
    struct span said;

    if (!json_string(json_member(&engine->json, json_root(&engine->json), name), text, &said))
        return SPAN("");
    return said;
}

static bool member_is_true(struct engine *engine, struct span name)
{
    const struct json_token *token = json_member(&engine->json, json_root(&engine->json), name);

    return token != NULL && token->type == JSON_TRUE;
}

static void fill_membership(struct engine *engine, struct buf *channel, struct lw_control *control)
{
    struct buf  text;
    struct span group;

    buf_init(&text, ENGINE_CONTROL_BYTES_MAX);
    group = member_text(engine, &text, SPAN("group"));
    if (!span_starts(group, SPAN("group:")))
        buf_put_lit(channel, "group:");
    buf_put(channel, group);
    buf_fini(&text);
    control->kind       = group.len > 0 ? LW_CONTROL_MEMBERSHIP : LW_CONTROL_OTHER;
    control->has_joined = member_is_true(engine, SPAN("joined"));
}

static void fill_read(struct engine *engine, struct buf *channel, struct lw_control *control)
{
    const struct json_token *seq = json_member(&engine->json, json_root(&engine->json), SPAN("target"));
    struct buf               text;

    buf_init(&text, ENGINE_CONTROL_BYTES_MAX);
    buf_put(channel, member_text(engine, &text, SPAN("target_channel")));
    buf_fini(&text);
    control->kind = channel->len > 0 && json_u64(seq, &control->seq) ? LW_CONTROL_READ : LW_CONTROL_OTHER;
}

static void tell_control(struct engine *engine, const struct lw_message *message, const char *type)
{
    static const struct json_limits limits  = { .depth_kept = 1 };
    struct lw_control               control = { .kind = LW_CONTROL_OTHER, .type = type, .message = message };
    struct buf                      channel;

    buf_init(&channel, ENGINE_CONTROL_BYTES_MAX);
    if (json_parse(span_of(message->data, message->data_len), &limits, &engine->json)) {
        if (strcmp(type, "membership") == 0)
            fill_membership(engine, &channel, &control);
        else if (strcmp(type, "read") == 0)
            fill_read(engine, &channel, &control);
    }
    buf_putc(&channel, '\0');
    if (control.kind != LW_CONTROL_OTHER)
        control.channel = channel.at;
    engine->on.control(engine->options.arg, &control);
    buf_fini(&channel);
}

/* --- messages ---------------------------------------------------------------------------------------------------------- */

static size_t put_name(struct engine *engine, struct span text)
{
    size_t at = engine->names.len;

    buf_put(&engine->names, text);
    buf_putc(&engine->names, '\0');
    return at;
}

static void tell(struct engine *engine, const struct lw_message *message, const char *control)
{
    bool is_control = *control != '\0' && engine->on.control != NULL && message->data_len <= ENGINE_CONTROL_BYTES_MAX;

    if (is_control)
        tell_control(engine, message, control);
    else if (engine->on.message != NULL)
        engine->on.message(engine->options.arg, message);
}

/* The data lies in `in`, where a byte follows it: the next frame's first, or room. It is a NUL for the callback. */
static void tell_with_nul(struct engine *engine, struct lw_message *message, const char *control)
{
    if (message->data_len == 0) {
        message->data = "";
        tell(engine, message, control);
        return;
    }
    char *end  = (char *)message->data + message->data_len;
    char  kept = *end;
    *end       = '\0';
    tell(engine, message, control);
    *end = kept;
}

static void tell_frame(struct engine *engine, struct bin_frame *frame, struct followed *followed)
{
    bool              is_recall = bin_has(frame, BIN_TARGET), is_recalled = bin_has(frame, BIN_RECALLED);
    struct lw_message message   = {
        .kind     = is_recall ? LW_RECALL : is_recalled ? LW_RECALLED : LW_MESSAGE,
        .channel  = followed->name,
        .epoch    = bin_number(frame, BIN_EPOCH),
        .seq      = bin_number(frame, BIN_SEQ),
        .id       = bin_number(frame, BIN_ID),
        .time_ms  = (int64_t)bin_number(frame, BIN_TIME),
        .data     = frame->payload.at,
        .data_len = frame->payload.len,
        .target   = bin_number(frame, BIN_TARGET),
    };

    buf_clear(&engine->names);
    size_t from = put_name(engine, bin_bytes(frame, BIN_FROM)), media = put_name(engine, bin_bytes(frame, BIN_MEDIA));
    size_t event   = put_name(engine, bin_bytes(frame, BIN_EVENT));
    size_t control = put_name(engine, control_type(bin_bytes(frame, BIN_MEDIA)));
    message.from   = bin_bytes(frame, BIN_FROM).len > 0 ? engine->names.at + from : NULL;
    message.media  = engine->names.at + media;
    message.event  = bin_bytes(frame, BIN_EVENT).len > 0 ? engine->names.at + event : NULL;
    tell_with_nul(engine, &message, engine->names.at + control);
}

bool engine_on_message(struct engine *engine, struct bin_frame *frame, msec now)
{
    uint64_t         seq      = bin_number(frame, BIN_SEQ);
    bool             is_replayed = bin_has(frame, BIN_REPLAYED);  /* which is no place */
    struct followed *followed =
        is_replayed ? NULL : channel_of(engine, bin_bytes(frame, BIN_CHANNEL), bin_number(frame, BIN_EPOCH), seq);
    bool             has_skipped;
    struct lw_gap    skipped;
    bool             is_response = span_eq(control_type(bin_bytes(frame, BIN_MEDIA)), SPAN("response"));
    bool             is_told     = is_response && engine_on_response(engine, frame);

    if (followed == NULL)
        return true;
    enum followed_verdict verdict =
        followed_message(followed, bin_number(frame, BIN_EPOCH), seq, &has_skipped, &skipped);
    if (verdict == FOLLOWED_TELL) {
        if (has_skipped && engine->on.gap != NULL)
            engine->on.gap(engine->options.arg, &skipped);
        if (!is_told)
            tell_frame(engine, frame, followed);
        acknowledge(engine, followed, seq);
    } else if (verdict == FOLLOWED_DROP && engine->has_session && followed_was_acked(followed, seq)) {
        followed_ack(&engine->table, followed, seq);
    }
    return check_verdict(engine, verdict, now);
}

/* --- gaps ---------------------------------------------------------------------------------------------------------------- */

static bool is_harmless(enum lw_gap_why why)
{
    return why == LW_GAP_AHEAD || why == LW_GAP_COLLAPSED;  /* in both nothing is lost */
}

bool engine_on_gap(struct engine *engine, struct bin_frame *frame, msec now)
{
    uint64_t         why      = bin_number(frame, BIN_WHY);
    uint64_t         end      = why == LW_GAP_AHEAD ? bin_number(frame, BIN_GAP_FROM) - 1 : bin_number(frame, BIN_GAP_TO);
    struct followed *followed = channel_of(engine, bin_bytes(frame, BIN_CHANNEL), bin_number(frame, BIN_EPOCH), end);

    if (followed == NULL)
        return true;
    struct lw_gap gap = {
        .channel = followed->name,
        .epoch   = bin_number(frame, BIN_EPOCH),
        .from    = bin_number(frame, BIN_GAP_FROM),
        .to      = bin_number(frame, BIN_GAP_TO),
        .why     = why < LW_GAP_UNFOLLOWED ? (enum lw_gap_why)why : LW_GAP_OTHER,
    };
    enum followed_verdict verdict = followed_gap(followed, &gap);
    if (verdict == FOLLOWED_TELL && followed->needs_snapshot && !is_harmless(gap.why)) {
        engine_want_snapshot(engine, followed, &gap);
    } else if (verdict == FOLLOWED_TELL) {
        if (engine->on.gap != NULL)
            engine->on.gap(engine->options.arg, &gap);
        acknowledge(engine, followed, followed->seq);
    }
    return check_verdict(engine, verdict, now);
}
