#include "session/group_follow.h"

#include <stdlib.h>

#include "base/must.h"
#include "message/control_message.h"
#include "message/epoch.h"
#include "session/device_link.h"

enum { LEFT_GROUPS_KEPT = 16, LEFT_GROUPS_OWED_MAX = SESSION_TOKEN_PLACES_MAX };

struct group_bound {
    struct group_bound *next;
    struct reader_sub  *sub;    /* NULL: it is none; the last span ends at the seq of the user's log up to which all is known */
    struct channel_name *left;  /* owns a reference: it binds nothing, but says that the link has left this group, of which it was
                                 * given all up to where the span ends; NULL: it binds */
    bool                is_owed; /* … and something of it was delivered that the client may not have acknowledged */
    struct group_spans  spans;
};

static void bound_free(struct group_bound *bound)
{
    channel_name_unref(bound->left);
    free(bound);
}

void group_follow_fini(struct group_follow *follow)
{
    while (follow->bounds != NULL) {
        struct group_bound *bound = follow->bounds;
        follow->bounds            = bound->next;
        bound_free(bound);
    }
    follow->user_sub = near_to(NULL);
}

/* --- bounds ------------------------------------------------------------------------------------------------------- */

static struct group_bound *bound_of(const struct group_follow *follow, const struct reader_sub *sub)
{
    for (struct group_bound *bound = follow->bounds; bound != NULL; bound = bound->next)
        if (bound->sub == sub && bound->left == NULL)
            return bound;
    return NULL;
}

static struct group_bound *bound_add(struct group_follow *follow, struct reader_sub *sub,
                                     const struct group_spans *spans)
{
    struct group_bound *bound = malloc(sizeof *bound);

    must(bound != NULL);
    *bound         = (struct group_bound){ .next = follow->bounds, .sub = sub, .spans = *spans };
    follow->bounds = bound;
    if (sub != NULL)
        sub->sub.is_bounded = true;
    return bound;
}

void group_follow_know(struct group_follow *follow, uint64_t epoch, uint64_t seq, uint64_t known)
{
    struct group_bound *bound = bound_of(follow, NULL);

    if (known <= seq)
        return;
    if (bound != NULL && bound->spans.spans[0].epoch == epoch) {
        if (bound->spans.spans[0].until < known)
            bound->spans.spans[0].until = known;
        return;
    }
    bound_add(follow, NULL, &(struct group_spans){ 1, { { epoch, seq, known, 0 } } });
}

static bool news_are_known(const struct group_follow *follow, const struct message *message)
{
    const struct group_bound *bound = bound_of(follow, NULL);

    return bound != NULL && message->epoch == bound->spans.spans[0].epoch && message->seq <= bound->spans.spans[0].until;
}

/* A session may keep the log of another user, who has other groups. */
static bool is_log_of(const struct reader_sub *sub, struct span user)
{
    const struct channel_name *name = subscription_name(&sub->sub);

    return name->space->membership == MEMBER_IS_USER && span_eq(channel_own_name(name), user);
}

void group_follow_note(struct group_follow *follow, struct span user, struct reader_sub *sub, const struct reader_sub *before,
                       const struct group_spans *spans)
{
    struct group_bound *bound = before == NULL ? NULL : bound_of(follow, before);

    if (is_log_of(sub, user) && (near_get(follow->user_sub) == NULL || near_get(follow->user_sub) == before))
        follow->user_sub = near_to(sub);
    if (bound != NULL) {
        bound->sub          = sub;
        sub->sub.is_bounded = true;
    } else if (spans != NULL) {
        bound_add(follow, sub, spans);
    }
}

/* --- another process ---------------------------------------------------------------------------------------------- */

void group_follow_visit(const struct group_follow *follow, void (*visit)(void *ctx, const struct moving_bound *bound), void *ctx)
{
    for (const struct group_bound *bound = follow->bounds; bound != NULL; bound = bound->next) {
        struct moving_bound moving = { .kind = MOVING_BOUND_KNOWN, .spans = bound->spans };
        if (bound->left != NULL) {
            moving.kind    = MOVING_BOUND_LEFT;
            moving.channel = bound->left;
        } else if (bound->sub != NULL) {
            moving.kind    = MOVING_BOUND;
            moving.channel = subscription_name(&bound->sub->sub);
        }
        visit(ctx, &moving);
    }
}

void group_follow_take(struct group_follow *follow, const struct moving_bound *moving, struct reader_sub *sub)
{
    struct group_bound **end = &follow->bounds, *bound = malloc(sizeof *bound);

    must(bound != NULL && (moving->kind == MOVING_BOUND) == (sub != NULL));
    while (*end != NULL)
        end = &(*end)->next;
    *bound = (struct group_bound){ .sub = sub, .spans = moving->spans };
    if (moving->kind == MOVING_BOUND_LEFT) {
        bound->left    = channel_name_ref(moving->channel);
        bound->is_owed = true;
    }
    if (sub != NULL)
        sub->sub.is_bounded = true;
    *end = bound;
}

/* --- what the log of the user says ---------------------------------------------------------------------------------- */

/* What a membership message says. */
struct membership_news {
    struct channel_name *group;  /* owns a reference */
    bool                 joined;
    uint64_t             epoch, seq;
};

static bool read_news_place(const struct json_doc *doc, struct buf *scratch, struct membership_news *news)
{
    const struct json_token *place = json_member(doc, json_root(doc), SPAN("place"));
    struct span              epoch;

    return place != NULL && json_string(json_member(doc, place, SPAN("epoch")), scratch, &epoch) &&
           epoch_get(epoch, &news->epoch) && json_u64(json_member(doc, place, SPAN("seq")), &news->seq);
}

static bool read_news(struct session_worker *worker, const struct json_doc *doc, struct membership_news *news)
{
    const struct json_token *joined = json_member(doc, json_root(doc), SPAN("joined"));
    struct span              group;
    struct buf               scratch, text;
    bool                     is_read = false;

    buf_init(&scratch, 4096);
    buf_init(&text, 4096);
    if (joined != NULL && json_string(json_member(doc, json_root(doc), SPAN("group")), &scratch, &group)) {
        buf_put_lit(&text, "group:");
        buf_put(&text, group);
        news->joined = joined->type == JSON_TRUE;
        is_read      = read_news_place(doc, &scratch, news) &&
                  channel_name_new(worker->namespaces, worker->hash_key, buf_span(&text), &news->group) ==
                      CHANNEL_NAME_OK;
    }
    buf_fini(&text);
    buf_fini(&scratch);
    return is_read;
}

/* What the log of the user says of a group comes a moment later than the group itself: only the newest matter, and those that the
 * client is yet to acknowledge. */
static void left_forget_old(struct group_follow *follow)
{
    unsigned count = 0, owed = 0;

    for (struct group_bound **at = &follow->bounds; *at != NULL;) {
        struct group_bound *bound = *at;
        if (bound->left == NULL || (bound->is_owed ? ++owed < LEFT_GROUPS_OWED_MAX : ++count < LEFT_GROUPS_KEPT)) {
            at = &bound->next;
            continue;
        }
        *at = bound->next;
        bound_free(bound);
    }
}

/* The link is about to leave the group. */
static void left_note(struct group_follow *follow, const struct group_bound *bound)
{
    const struct subscription *sub   = &bound->sub->sub;
    const struct group_spans   given = { 1, { { subscription_seen_epoch(sub), 0, subscription_seen(sub), 0 } } };

    left_forget_old(follow);
    struct group_bound *left = bound_add(follow, NULL, &given);
    left->left    = channel_name_ref(subscription_name(sub));
    left->is_owed = sub->is_moved;
}

void group_follow_note_over(struct group_follow *follow, struct channel_name *name, uint64_t epoch, uint64_t seq)
{
    struct group_bound *left = bound_add(follow, NULL, &(struct group_spans){ 1, { { epoch, 0, seq, 0 } } });

    left->left = channel_name_ref(name);
}

static struct group_bound *left_find(const struct group_follow *follow, struct span channel)
{
    for (struct group_bound *bound = follow->bounds; bound != NULL; bound = bound->next)
        if (bound->left != NULL && span_eq(channel_name_span(bound->left), channel))
            return bound;
    return NULL;
}

bool group_follow_find_left(const struct group_follow *follow, struct span channel, struct channel_name **ret_name, uint64_t *ret_epoch,
                            uint64_t *ret_seq)
{
    const struct group_bound *bound = left_find(follow, channel);

    if (bound == NULL)
        return false;
    *ret_name  = bound->left;
    *ret_epoch = bound->spans.spans[0].epoch;
    *ret_seq   = bound->spans.spans[0].until;
    return true;
}

void group_follow_settle_left(struct group_follow *follow, const struct channel_name *name)
{
    struct group_bound *bound = left_find(follow, channel_name_span(name));

    must(bound != NULL);
    bound->is_owed = false;
}

size_t group_follow_put_left(const struct group_follow *follow, const struct reader *reader, struct place *places, size_t max)
{
    size_t count = 0;

    for (const struct group_bound *bound = follow->bounds; bound != NULL && count < max; bound = bound->next)
        if (bound->left != NULL && bound->is_owed && reader_find(reader, channel_name_span(bound->left)) == NULL)
            places[count++] = (struct place){ channel_name_span(bound->left), bound->spans.spans[0].epoch, bound->spans.spans[0].until };
    return count;
}

/* Where the link begins in a group that the user has joined: behind what it was given before. */
static uint64_t left_take(struct group_follow *follow, const struct membership_news *news)
{
    uint64_t seq = news->seq;

    for (struct group_bound **at = &follow->bounds; *at != NULL; at = &(*at)->next) {
        struct group_bound      *bound = *at;
        const struct group_span *given = &bound->spans.spans[0];
        if (bound->left == NULL || !channel_name_eq(bound->left, news->group))
            continue;
        if (given->epoch == news->epoch && given->until > seq)
            seq = given->until;
        *at = bound->next;
        bound_free(bound);
        break;
    }
    return seq;
}

static void hear_join(struct group_follow *follow, struct link *link, const struct membership_news *news)
{
    struct reader_sub  *sub   = reader_find(link_reader(link), channel_name_span(news->group));
    struct group_bound *bound = sub == NULL ? NULL : bound_of(follow, sub);

    if (sub == NULL) {
        const uint64_t from = left_take(follow, news);
        device_link_follow(link, &(struct session_place){ .name = news->group, .epoch = news->epoch, .seq = from });
        device_link_note(link, news->group, news->epoch, news->seq, ACK_BEGIN);
        /* A channel that others follow has answered at once, and nothing else would say so. */
        link->has_joined = true;
        link_mark(link);
    } else if (bound != NULL) {
        group_spans_join(&bound->spans, news->epoch, news->seq);
    }
}

/* What was delivered already stays so; what is behind the place is no longer the user's. */
static void hear_leave(struct group_follow *follow, struct link *link, const struct membership_news *news)
{
    struct reader_sub  *sub   = reader_find(link_reader(link), channel_name_span(news->group));
    struct group_bound *bound = sub == NULL ? NULL : bound_of(follow, sub);

    if (sub == NULL)
        return;
    if (bound == NULL) {
        const struct group_spans all = { 1, { { subscription_seen_epoch(&sub->sub), subscription_seen(&sub->sub),
                                                GROUP_SPAN_OPEN, 0 } } };
        bound = bound_add(follow, sub, &all);
    }
    group_spans_leave(&bound->spans, news->epoch, news->seq, 0);
}

static void hear(struct group_follow *follow, struct link *link, const struct message *message)
{
    static const struct json_limits members = { .depth_kept = 2 };
    struct membership_news          news    = { 0 };
    struct json_doc                 doc;

    if (news_are_known(follow, message) || !span_eq(control_message_type(message), SPAN("membership")))
        return;
    json_doc_init(&doc);
    if (json_parse(message_payload(message), &members, &doc) && read_news(link->worker, &doc, &news)) {
        if (news.joined)
            hear_join(follow, link, &news);
        else
            hear_leave(follow, link, &news);
        channel_name_unref(news.group);
    }
    json_doc_fini(&doc);
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

static bool bound_is_done(const struct group_follow *follow, const struct group_bound *bound)
{
    const struct reader_sub *user = near_get(follow->user_sub);

    if (bound->left != NULL)
        return false;
    if (bound->sub == NULL)
        return user != NULL && subscription_seen(&user->sub) >= bound->spans.spans[0].until;
    const struct subscription *sub = &bound->sub->sub;
    return subscription_is_placed(sub) && !group_spans_is_member(&bound->spans) &&
           group_spans_next(&bound->spans, subscription_epoch(sub), subscription_seen(sub) + 1) == 0;
}

/* Of a member who has come to the last span: the group is followed like any other channel. */
static bool bound_is_over(const struct group_bound *bound)
{
    if (bound->sub == NULL)
        return false;
    const struct subscription *sub = &bound->sub->sub;
    return subscription_is_settled(sub) &&
           group_spans_have_rest(&bound->spans, subscription_epoch(sub), subscription_seen(sub) + 1);
}

static void end_bound(struct group_follow *follow, struct link *link, struct group_bound *bound)
{
    struct reader_sub *sub     = bound->sub;
    const bool         is_done = sub != NULL && bound_is_done(follow, bound);

    if (sub != NULL)
        sub->sub.is_bounded = false;
    if (is_done)
        left_note(follow, bound);
    bound_free(bound);
    if (is_done)
        device_link_leave(link, sub);
}

/* Forgets bounds that don't bind any more, and unfollows groups of which nothing more is the user's. Frames under way may have
 * to be taken back: so only while there are none. */
static void sweep_bounds(struct group_follow *follow, struct link *link)
{
    struct group_bound **at = &follow->bounds, *over = NULL;

    if (link->worker->batch.count > 0 || (link_waiting(link) != NULL && cut_frame_is_there(&link_waiting(link)->cut)))
        return;
    while (*at != NULL) {
        struct group_bound *bound   = *at;
        const bool          is_done = bound_is_done(follow, bound);
        if (!is_done && !bound_is_over(bound)) {
            at = &bound->next;
            continue;
        }
        *at         = bound->next;
        bound->next = over;
        over        = bound;
    }
    while (over != NULL) {
        struct group_bound *bound = over;
        over                      = bound->next;
        end_bound(follow, link, bound);
    }
}

/* Without this the link would leave when the next message comes, of whichever channel, and be counted among those who follow
 * until then. What the batch holds is of use to links without bounds alone. */
void group_follow_settle(struct group_follow *follow, struct link *link)
{
    if (follow->bounds == NULL)
        return;
    frame_batch_clear(&link->worker->batch);
    sweep_bounds(follow, link);
}

static bool is_told_first(const struct entry *entry)
{
    return entry->message == NULL && (entry->gap.why == GAP_AHEAD || entry->gap.why == GAP_EPOCH);
}

static void step_over(struct reader_sub *sub, uint64_t from, uint64_t to)
{
    const struct entry silent = { .gap = { from, to, GAP_TRIMMED } };

    subscription_step(&sub->sub, &silent);
}

enum admission_of_entry {
    ENTRY_ADMITTED,  /* it, or what is left of it, is the user's */
    ENTRY_PASSED,    /* it was stepped over */
    ENTRY_OVER,      /* nothing more of the group is the user's, as far as the log of the user says now. It is not stepped over:
                      * that the user has joined again may be on its way here */
};

static enum admission_of_entry bound_judge(const struct group_bound *bound, struct entry *entry)
{
    struct subscription *sub   = &bound->sub->sub;
    uint64_t             epoch = subscription_epoch(sub);
    uint64_t             from  = entry->message != NULL ? entry->message->seq : entry->gap.from;
    uint64_t             next  = group_spans_next(&bound->spans, epoch, from);

    /* Who is no member any more could not pull what a notify tells. */
    bool is_notify = reader_entry_is_notify(bound->sub, entry);
    if ((is_told_first(entry) || is_notify) && group_spans_is_member(&bound->spans))
        return ENTRY_ADMITTED;
    if (next == 0 && !is_told_first(entry))
        return ENTRY_OVER;
    if (is_told_first(entry) || is_notify) {
        subscription_step(sub, entry);
        return ENTRY_PASSED;
    }
    if (next > entry_last(entry)) {
        step_over(bound->sub, from, next - 1);
        return ENTRY_PASSED;
    }
    if (entry->message == NULL)
        entry->gap.from = next;
    return ENTRY_ADMITTED;
}

/* What is next of the other channels. NULL: nothing, or something has to be done before. */
static struct reader_sub *look_behind_bounds(struct group_follow *follow, struct link *link, struct entry *ret_entry)
{
    enum admission_of_entry admission = ENTRY_ADMITTED;
    struct reader_sub      *sub;

    do {
        sub = link_look_plain(link, ret_entry);
        /* What the client asked to follow as a member, before its session heard that it is one, is marked and has no bound. */
        const struct group_bound *bound = sub == NULL || !sub->sub.is_bounded ? NULL : bound_of(follow, sub);
        admission                       = bound == NULL ? ENTRY_ADMITTED : bound_judge(bound, ret_entry);
    } while (admission == ENTRY_PASSED);
    return admission == ENTRY_OVER ? NULL : sub;  /* the group is left once these frames are gone: the next look does it */
}

/* What is next of the log of the user. It is heard, and in silence if the client is not sent it. */
static enum look_result look_at_user(struct group_follow *follow, struct link *link, struct entry *ret_entry)
{
    struct session_worker *worker = link->worker;
    struct reader_sub     *sub    = near_get(follow->user_sub);
    enum look_result       found;

    while ((found = reader_look_at(link_reader(link), &worker->readers, sub, worker->loop->wall, ret_entry)) == LOOK_ENTRY) {
        if (ret_entry->message != NULL)
            hear(follow, link, ret_entry->message);
        if (!sub->sub.is_unasked)
            break;
        subscription_step(&sub->sub, ret_entry);
    }
    return found;
}

struct reader_sub *group_follow_look(struct group_follow *follow, struct link *link, struct entry *ret_entry)
{
    struct reader_sub *sub = near_get(follow->user_sub);

    if (sub == NULL || link->is_fenced || !subscription_is_placed(&sub->sub))
        return NULL;
    switch (look_at_user(follow, link, ret_entry)) {
    case LOOK_ENTRY:
        return sub;
    case LOOK_UNREAD:
    case LOOK_READING:
        return NULL;
    case LOOK_WAIT:
        break;
    }
    if (link->has_joined)
        return NULL;
    sweep_bounds(follow, link);
    return look_behind_bounds(follow, link, ret_entry);
}
