#include "session/device_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/may.h"
#include "auth/revocations.h"
#include "base/must.h"
#include "codec/token/session_token.h"
#include "message/user_name.h"
#include "session/presence_follow.h"

/* --- opening ---------------------------------------------------------------------------------------------------- */

struct session_worker *device_link_worker(const struct session_open *open)
{
    return container_of(open->home, struct session_worker, home);
}

/* A token that names no device was not refused when the caller was identified. */
static bool device_is_revoked(const struct session_worker *worker, const struct identity *holder, struct span device)
{
    return worker->revocations != NULL && !holder->is_open &&
           revocations_refuse(worker->revocations, &(struct revocable){
               .user = identity_user(holder), .device = device, .issued_at = (uint64_t)(holder->issued_at / 1000) });
}

struct verdict device_link_choose(struct session_worker *worker, const struct identity *holder, struct span said,
                                  char made[MADE_DEVICE_BYTES], struct span *ret_device)
{
    struct span device = identity_device(holder);

    if (identity_user(holder).len == 0)
        return (struct verdict){ 401, "a session belongs to a user: come with the token of one" };
    if (device.len > 0 && said.len > 0 && !span_eq(device, said))
        return (struct verdict){ 400, "the token names another device: leave out `device`, or say the same" };
    if (device.len == 0)
        device = said;
    if (device.len == 0) {
        snprintf(made, MADE_DEVICE_BYTES, "%016" PRIx64, worker->port->new_key(worker->ctx));
        device = span_str(made);
    }
    *ret_device = device;
    if (!device_name_is_valid(device))
        return (struct verdict){ 400, USER_NAMES_ARE };
    if (device_is_revoked(worker, holder, device))
        return (struct verdict){ 401, "this device was revoked: come with a token that was issued later" };
    return (struct verdict){ 0 };
}

struct session_open *device_link_ask(struct session_worker *worker, const struct session_question *question,
                                     void (*answered)(struct session_open *open), void *owner)
{
    struct session_open *open = session_open_new(worker->devices, question->user, question->device,
                                                 question->device_class);

    open->home       = &worker->home;
    open->way        = question->way;
    open->generation = question->generation;
    open->since      = question->since;
    open->key        = question->key;
    open->asked_at   = question->asked_at != 0 ? question->asked_at : worker->loop->now;
    open->transport  = transport_text(question->transport);
    open->is_poll    = question->transport == TRANSPORT_POLL;
    open->answered   = answered;
    open->owner      = owner;
    shard_send_own(worker->shard, &open->command);
    return open;
}

void device_link_abandon(struct session_worker *worker, struct session_open *open)
{
    open->owner = NULL;
    shard_send_own(worker->shard, &session_abandon_new(open)->command);
}

static void tell_closed(struct session_worker *worker, struct standing *standing, uint64_t key, uint64_t generation)
{
    shard_send_own(worker->shard, &session_close_new(worker->devices, standing, key, generation)->command);
}

void device_link_drop(struct session_worker *worker, struct session_open *open)
{
    if (open->outcome == OPEN_DONE && open->standing != NULL)
        tell_closed(worker, open->standing, open->key, open->generation);
    command_free(&open->command);
}

struct verdict device_link_verdict(enum open_outcome outcome)
{
    static const struct verdict rows[] = {
        [OPEN_DONE]     = { 0, NULL },
        [OPEN_STALE]    = { 401, "stale: a newer link has taken this session over, or it has ended; come with a token" },
        [OPEN_NONE]     = { 401, "stale: this session has ended; come with a token" },
        [OPEN_FULL]     = { 403, "this user has as many devices as a user may have (devices_per_user_max)" },
        [OPEN_ASTRAY]   = { 404, "this session does not follow that channel" },
        [OPEN_NO_SPACE] = { 507, "the disk is full, so the session can't be taken over; come again later" },
        [OPEN_BUSY]     = { 503, "too many sessions, or too many links of this one, are being opened; come again later" },
        [OPEN_AWAY]     = { 503, "sessions can't be read or stored just now; come again later" },
    };

    must(outcome < sizeof rows / sizeof rows[0]);
    return rows[outcome];
}

void device_link_begin(struct link *link, const struct session_open *open)
{
    must(link_device(link) == NULL && open->outcome == OPEN_DONE && link->key == open->key);
    link_set_device(link, pool_take(&link->worker->device_links));
    link_device(link)->near_standing = near_to(open->standing);
    link_device(link)->generation = open->generation;
    link_device(link)->since      = open->since;
    presence_follow_rename(link);
}

/* --- acknowledging ---------------------------------------------------------------------------------------------- */

static void acks_drop(struct device_link *device)
{
    struct pending_acks *acks = device->acks;

    if (acks == NULL)
        return;
    for (uint32_t i = 0; i < acks->count; i++)
        channel_name_unref(acks->acks[i].name);
    list_take(&acks->in_acking);
    free(acks);
    device->acks = NULL;
}

/* One more, with no word in it yet. Mostly a session has one. */
static struct pending_ack *acks_add(struct session_worker *worker, struct device_link *device, struct channel_name *name)
{
    struct pending_acks *acks  = device->acks;
    uint32_t             count = acks == NULL ? 0 : acks->count;

    if (acks != NULL)
        list_take(&acks->in_acking);
    acks = realloc(acks, sizeof *acks + (count + 1) * sizeof acks->acks[0]);
    must(acks != NULL);
    list_init(&acks->in_acking);
    list_push(&worker->acking, &acks->in_acking);
    acks->device      = device;
    acks->count       = count + 1;
    acks->acks[count] = (struct pending_ack){ .name = channel_name_ref(name) };
    device->acks      = acks;
    return &acks->acks[count];
}

static struct pending_ack *acks_find_place(const struct device_link *device, const struct channel_name *name)
{
    for (uint32_t i = 0; device->acks != NULL && i < device->acks->count; i++)
        if (device->acks->acks[i].kind == ACK_PLACE && channel_name_eq(device->acks->acks[i].name, name))
            return &device->acks->acks[i];
    return NULL;
}

void device_link_note(struct link *link, struct channel_name *name, uint64_t epoch, uint64_t seq,
                      enum session_ack_kind kind)
{
    struct device_link *device = link_device(link);
    struct pending_ack *ack;

    if (link->is_fenced)
        return;
    /* The latest place of a channel counts, unless another kind of word stands between. */
    ack = kind == ACK_PLACE ? acks_find_place(device, name) : NULL;
    if (ack == NULL)
        ack = acks_add(link->worker, device, name);
    else if (ack->epoch == epoch && ack->seq >= seq)
        return;
    ack->epoch = epoch;
    ack->seq   = seq;
    ack->kind  = kind;
}

/* Commands with the acks of many links. */
struct ack_teller {
    struct session_worker *worker;
    struct session_acks   *acks;
};

static void teller_send(struct ack_teller *teller)
{
    if (teller->acks != NULL)
        shard_send_own(teller->worker->shard, &teller->acks->command);
    teller->acks = NULL;
}

static void teller_add(struct ack_teller *teller, struct device_link *device)
{
    for (uint32_t i = 0; device->acks != NULL && i < device->acks->count; i++) {
        struct pending_ack *pending = &device->acks->acks[i];
        if (teller->acks == NULL)
            teller->acks = session_acks_new(teller->worker->devices);
        teller->acks->acks[teller->acks->count++] = (struct session_ack){
            device_link_standing(device), device->generation, channel_name_ref(pending->name), pending->epoch, pending->seq,
            pending->kind,
        };
        if (teller->acks->count == SESSION_ACKS_MAX)
            teller_send(teller);
    }
    acks_drop(device);
}

void device_links_tell(struct session_worker *worker)
{
    struct ack_teller teller = { .worker = worker };

    while (!list_is_empty(&worker->acking))
        teller_add(&teller, container_of(worker->acking.next, struct pending_acks, in_acking)->device);
    teller_send(&teller);
}

/* --- channels that the session follows -------------------------------------------------------------------------- */

/* `before`: the subscription that it replaces; NULL: none. */
static struct reader_sub *follow_own(struct link *link, struct channel_name *name, struct start start,
                                     const struct group_spans *spans, struct reader_sub *before)
{
    struct reader_sub *sub = link_follow(link, name, start);

    group_follow_note(&link_device(link)->groups, identity_user(link->holder), sub, before, spans);
    if (before != NULL)
        link_unfollow(link, before);  /* it stands somewhere else than the session */
    sub->sub.is_own = true;
    link_device(link)->own_count++;
    return sub;
}

struct reader_sub *device_link_follow(struct link *link, const struct session_place *place)
{
    struct reader_sub *before = reader_find(link_reader(link), channel_name_span(place->name));

    if (before != NULL && before->sub.is_unasked)
        before = NULL;  /* the link listens by it in silence */
    struct reader_sub *sub = follow_own(link, place->name, (struct start){ START_AFTER, place->seq, place->epoch },
                                        place->spans, before);

    sub->sub.is_kept          = place->is_kept;
    link_device(link)->kept_count += place->is_kept;
    return sub;
}

/* What a session kept may be forbidden by now: it may have been a grant that allowed it. */
static bool may_still_follow(const struct link *link, const struct session_place *place)
{
    struct verdict verdict = may(link->holder, place->name, ACTION_SUBSCRIBE);

    return verdict.status == 0 || (verdict.needs_member && place->is_of_member);
}

static const struct place *named_place(const struct token *named, const struct channel_name *name)
{
    for (size_t i = 0; named != NULL && i < named->count; i++)
        if (span_eq(named->places[i].channel, channel_name_span(name)))
            return &named->places[i];
    return NULL;
}

void device_link_leave(struct link *link, struct reader_sub *sub)
{
    link_device(link)->own_count--;
    link_device(link)->kept_count -= sub->sub.is_kept;
    if (link->kind->left != NULL)
        link->kind->left(link, sub);
    else
        link_unfollow(link, sub);
}

static void listen_in_silence(struct link *link, struct channel_name *name, uint64_t epoch, uint64_t seq)
{
    struct reader_sub *sub = link_follow(link, name, (struct start){ START_AFTER, seq, epoch });

    sub->sub.is_notify  = false;
    sub->sub.is_unasked = true;
    sub->sub.is_own     = true;
    link_device(link)->own_count++;
    link_device(link)->groups.user_sub = near_to(sub);
}

bool device_link_listens_by(const struct link *link, const struct reader_sub *sub)
{
    return link_device(link) != NULL && near_get(link_device(link)->groups.user_sub) == sub;
}

void device_link_listen_beside(struct link *link, const struct reader_sub *sub)
{
    listen_in_silence(link, subscription_name(&sub->sub), subscription_seen_epoch(&sub->sub), subscription_seen(&sub->sub));
}

/* The link's own subscription comes behind it: whoever looks for the channel finds what was followed last. */
static void listen_at_first(struct link *link, const struct session_open *open)
{
    for (size_t i = 0; link->is_notify && i < open->place_count; i++) {
        const struct session_place *place = &open->places[i];
        if (place->name->space->membership == MEMBER_IS_USER && span_eq(channel_own_name(place->name), open->user)) {
            listen_in_silence(link, place->name, place->epoch, place->seq);
            return;
        }
    }
}

/* What of a group's log is the user's is not known for seqs before the place of the session, if all behind it is. So
 * there nobody goes back. */
static struct start never_back(const struct start *stored, struct start named, const struct channel_name *name,
                               bool is_bounded)
{
    bool is_same_log = named.epoch == 0 || named.epoch == stored->epoch;

    if (is_bounded || !is_same_log || named.seq >= stored->seq ||
        !span_eq(span_str(name->space->name), SPAN("group")))
        return named;
    return *stored;
}

/* The session knows what the user's log says of groups up to its place there, also if the client names an earlier one. */
static void note_known_groups(struct group_follow *follow, const struct session_open *open, const struct token *named)
{
    for (size_t i = 0; i < open->place_count; i++) {
        const struct session_place *place = &open->places[i];
        if (place->name->space->membership != MEMBER_IS_USER || place->is_kept)
            continue;
        const struct place *instead = named_place(named, place->name);
        const bool          is_back = instead != NULL && instead->seq < place->seq;
        group_follow_know(follow, place->epoch, is_back ? instead->seq : place->seq,
                          is_back && open->groups_seq < place->seq ? place->seq : open->groups_seq);
    }
}

void device_link_follow_all(struct link *link, const struct session_open *open, const struct token *named)
{
    note_known_groups(&link_device(link)->groups, open, named);
    listen_at_first(link, open);
    /* A reader's list begins with the last. So it has the order of the names. */
    for (size_t i = open->place_count; i-- > 0;) {
        struct session_place place  = open->places[i];
        const struct place  *instead = named_place(named, place.name);
        if (place.is_over) {
            group_follow_note_over(&link_device(link)->groups, place.name, place.epoch, place.seq);
            continue;
        }
        if (place.is_kept && !may_still_follow(link, &place))
            continue;
        if (instead != NULL) {
            struct start start = never_back(&(struct start){ START_AFTER, place.seq, place.epoch },
                                            (struct start){ START_AFTER, instead->seq, instead->epoch }, place.name,
                                            place.spans != NULL);
            place.epoch = start.epoch;
            place.seq   = start.seq;
        }
        struct reader_sub *sub = device_link_follow(link, &place);
        sub->sub.is_moved = instead != NULL;
        sub->sub.is_named = instead != NULL;
    }
}

void device_link_put_token(const struct link *link, struct buf *buf)
{
    const struct device_link *device = link_device(link);
    struct place             *places = session_worker_places(link->worker, SESSION_TOKEN_PLACES_MAX);
    size_t                    count  = 0;

    session_token_put(buf, &(struct session_token){ device->generation, device->since, device_link_device(device) });
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL && count < SESSION_TOKEN_PLACES_MAX;
         sub = reader_sub_next(sub))
        if (!sub->sub.is_unasked && (sub->sub.is_moved || !sub->sub.is_own))
            places[count++] = link_place_of(link, sub, true);
    count += group_follow_put_left(&device->groups, link_reader(link), places + count, SESSION_TOKEN_PLACES_MAX - count);
    if (count > 0)
        token_put(buf, places, count);
}

struct reader_sub *device_link_move(struct link *link, struct reader_sub *sub, struct start start)
{
    struct channel_name *name    = channel_name_ref(subscription_name(&sub->sub));
    bool                 is_kept = sub->sub.is_kept, is_notify = sub->sub.is_notify;

    start = never_back(&(struct start){ START_AFTER, subscription_seen(&sub->sub), subscription_seen_epoch(&sub->sub) }, start,
                       name, sub->sub.is_bounded);
    if (!is_kept && name->space->membership == MEMBER_IS_USER && start.kind == START_AFTER)
        group_follow_know(&link_device(link)->groups, subscription_seen_epoch(&sub->sub), start.seq, subscription_seen(&sub->sub));
    link_device(link)->own_count--;
    sub               = follow_own(link, name, start, NULL, sub);
    sub->sub.is_kept  = is_kept;
    sub->sub.is_notify = is_notify;
    sub->sub.is_moved = true;
    sub->sub.is_named = true;
    channel_name_unref(name);
    return sub;
}

void device_link_let_go(struct link *link, const struct reader_sub *sub)
{
    if (link_device(link) == NULL || !sub->sub.is_own)
        return;
    link_device(link)->own_count--;
    link_device(link)->kept_count -= sub->sub.is_kept;
}

bool device_link_may_leave(struct link *link, struct reader_sub *sub)
{
    if (link_device(link) == NULL || !sub->sub.is_own)
        return true;
    if (!sub->sub.is_kept)
        return false;
    device_link_note(link, subscription_name(&sub->sub), 0, 0, ACK_DROP);
    device_link_let_go(link, sub);
    return true;
}

size_t link_own_count(const struct link *link, bool is_kept)
{
    if (link_device(link) == NULL)
        return link_reader(link)->sub_count;
    return is_kept ? link_device(link)->kept_count : link_reader(link)->sub_count - link_device(link)->own_count;
}

/* A place beyond the head counts as the head; one of another life of the log, as nothing. */
static uint64_t bounded_seq(const struct reader_sub *sub, uint64_t epoch, uint64_t seq)
{
    if (epoch != 0 && epoch != subscription_epoch(&sub->sub))
        return 0;
    return seq < subscription_head(&sub->sub) ? seq : subscription_head(&sub->sub);
}

uint64_t device_link_acknowledge(struct link *link, struct reader_sub *sub, uint64_t epoch, uint64_t seq)
{
    uint64_t counts = bounded_seq(sub, epoch, seq);

    if (counts > 0)
        device_link_note(link, subscription_name(&sub->sub), subscription_epoch(&sub->sub), counts, ACK_PLACE);
    return counts;
}

bool device_link_acknowledge_known(struct link *link, struct reader_sub *sub, uint64_t epoch, uint64_t seq)
{
    const struct start start = subscription_start_again(&sub->sub);

    if (start.kind != START_AFTER || start.epoch == 0 || (epoch != 0 && epoch != start.epoch) || seq > start.seq)
        return false;
    if (seq > 0)
        device_link_note(link, subscription_name(&sub->sub), start.epoch, seq, ACK_PLACE);
    return true;
}

bool device_link_acknowledge_left(struct link *link, struct span channel, uint64_t epoch, uint64_t seq, uint64_t *ret_counts)
{
    struct group_follow *follow = &link_device(link)->groups;
    struct channel_name *name;
    uint64_t             left_epoch, until;

    if (!group_follow_find_left(follow, channel, &name, &left_epoch, &until))
        return false;
    *ret_counts = epoch != 0 && epoch != left_epoch ? 0 : seq < until ? seq : until;
    if (*ret_counts > 0)
        device_link_note(link, name, left_epoch, *ret_counts, ACK_PLACE);
    if (*ret_counts == until)
        group_follow_settle_left(follow, name);
    return true;
}

void device_link_placed(struct link *link, struct reader_sub *sub)
{
    if (link_device(link) == NULL)
        return;
    if (sub->sub.is_named)
        device_link_acknowledge(link, sub, subscription_seen_epoch(&sub->sub), subscription_seen(&sub->sub));
    if (sub->sub.is_keeping)
        device_link_note(link, subscription_name(&sub->sub), subscription_seen_epoch(&sub->sub),
                         bounded_seq(sub, 0, subscription_seen(&sub->sub)), ACK_KEEP);
    sub->sub.is_named   = false;
    sub->sub.is_keeping = false;
}

void device_link_keep(struct link *link, struct reader_sub *sub)
{
    sub->sub.is_own     = true;
    sub->sub.is_kept    = true;
    sub->sub.is_keeping = true;
    link_device(link)->own_count++;
    link_device(link)->kept_count++;
    if (subscription_is_placed(&sub->sub))
        device_link_placed(link, sub);
}

/* --- the end ---------------------------------------------------------------------------------------------------- */

/* Of a frame that was cut the client does not have the end. */
static uint64_t handed_over(const struct link *link, const struct reader_sub *sub)
{
    const struct cut_frame *cut = link_waiting(link) == NULL ? NULL : &link_waiting(link)->cut;

    if (cut != NULL && cut_frame_is_there(cut) && cut->sub == sub)
        return cut->before.next - 1;
    return subscription_seen(&sub->sub);
}

/* How far the link was handed the session's channels. */
static void note_delivered(const struct link *link, struct session_close *closed)
{
    const size_t count = link_device(link)->own_count < SESSION_DELIVERED_MAX ? link_device(link)->own_count : SESSION_DELIVERED_MAX;

    closed->delivered = calloc(count + 1, sizeof closed->delivered[0]);
    must(closed->delivered != NULL);
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL && closed->delivered_count < count; sub = reader_sub_next(sub))
        if (sub->sub.is_own && !sub->sub.is_notify && !sub->sub.is_unasked && subscription_is_placed(&sub->sub))
            closed->delivered[closed->delivered_count++] = (struct session_place){
                .name = channel_name_ref(subscription_name(&sub->sub)), .epoch = subscription_seen_epoch(&sub->sub),
                .seq = handed_over(link, sub),
            };
}

void device_link_end(struct link *link, bool is_between)
{
    struct device_link *device = link_device(link);
    struct ack_teller   teller = { .worker = link->worker };

    if (device == NULL)
        return;
    teller_add(&teller, device);
    teller_send(&teller);
    struct session_close *closed = session_close_new(link->worker->devices, device_link_standing(device), link->key, device->generation);
    closed->is_between           = is_between;
    /* A poll that was answered has a client that is to name its places with the next one. */
    if (!is_between)
        note_delivered(link, closed);
    shard_send_own(link->worker->shard, &closed->command);
    group_follow_fini(&device->groups);
    pool_give(&link->worker->device_links, device);
    link_set_device(link, NULL);
}

void device_link_fence(struct device_home *home, uint64_t key, enum fence_reason reason)
{
    struct session_worker *worker = container_of(home, struct session_worker, home);
    struct link           *link   = session_worker_find(worker, key);

    if (link == NULL || link_device(link) == NULL)
        return;
    /* What was acknowledged before the newer link took over counts. */
    struct ack_teller teller = { .worker = worker };
    teller_add(&teller, link_device(link));
    teller_send(&teller);
    link->is_fenced = true;
    link->kind->end(link, reason == FENCE_REPLACED ? LINK_END_REPLACED : LINK_END_CUT_OFF);
}

size_t device_link_look(struct device_home *home, uint64_t key, const struct channel_name *channel,
                        struct link_view *ret)
{
    struct session_worker   *worker = container_of(home, struct session_worker, home);
    const struct link       *link   = session_worker_find(worker, key);
    const struct reader_sub *sub;

    *ret = (struct link_view){ 0 };
    if (link == NULL || link_device(link) == NULL || link->is_fenced || link->is_over)
        return 1;
    sub = reader_find(link_reader(link), channel_name_span(channel));
    if (sub != NULL)
        *ret = (struct link_view){
            .is_there  = true,
            .is_own    = sub->sub.is_own,
            .is_placed = subscription_is_placed(&sub->sub),
            .is_silent = sub->sub.is_notify,
            .epoch     = subscription_seen_epoch(&sub->sub),
            .seen      = handed_over(link, sub),
        };
    return link_reader(link)->sub_count + 1u;
}
