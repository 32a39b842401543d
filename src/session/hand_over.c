#include "session/hand_over.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/stream_tcp.h"
#include "session/client.h"
#include "session/device_link.h"
#include "session/link_expiry.h"
#include "session/presence_follow.h"

enum { WORDS_BYTES_MOST = 32 * 1024 * 1024 };

/* --- the old process: before ------------------------------------------------------------------------------------- */

void session_worker_settle(struct session_worker *worker)
{
    client_marks_send_all(worker);
    device_links_tell(worker);
    for (struct near_list *at = near_list_next(&worker->lists->polls), *next; at != &worker->lists->polls; at = next) {
        struct link *link = container_of(at, struct link, in_worker);
        next              = near_list_next(at);
        link->kind->leave(link);
    }
}

void session_worker_tell_acknowledged(struct session_worker *worker)
{
    device_links_tell(worker);
}

static bool link_has_socket(const struct link *link)
{
    return link->kind->hand_over != NULL && link_stream(link) != NULL && stream_tcp_socket(link_stream(link)) >= 0 && !link->is_over;
}

bool session_worker_is_settled(const struct session_worker *worker)
{
    for (const struct near_list *at = near_list_next(&worker->lists->links); at != &worker->lists->links; at = near_list_next(at)) {
        const struct link *link = container_of(at, struct link, in_worker);
        if (link_has_socket(link) && link->kind->is_busy != NULL && link->kind->is_busy(link))
            return false;
    }
    return true;
}

/* --- the old process: what is told ------------------------------------------------------------------------------ */

static uint32_t flag_if(bool is_set, enum handover_link_flag flag)
{
    return is_set ? (uint32_t)flag : 0;
}

static uint32_t link_flags(const struct link *link)
{
    return flag_if(link->is_chunked, HANDOVER_IS_CHUNKED) | flag_if(link->is_let_in, HANDOVER_IS_LET_IN) |
           flag_if(link->is_farewell, HANDOVER_IS_FAREWELL) | flag_if(link->is_notify, HANDOVER_IS_NOTIFY) |
           flag_if(link->is_noted, HANDOVER_IS_NOTED) | flag_if(link->is_user_noted, HANDOVER_IS_USER_NOTED) |
           flag_if(link->has_row, HANDOVER_HAS_ROW) | flag_if(link->is_answered, HANDOVER_IS_ANSWERED) |
           flag_if(link->is_quiet, HANDOVER_IS_QUIET) |
           flag_if(link_expiry(link) != NULL && link_expiry(link)->is_told, HANDOVER_IS_EXPIRY_TOLD);
}

static uint32_t sub_flag_if(bool is_set, enum handover_sub_flag flag)
{
    return is_set ? (uint32_t)flag : 0;
}

static uint32_t sub_flags(const struct link *link, const struct reader_sub *reader_sub)
{
    const struct subscription *sub        = &reader_sub->sub;
    const bool                 is_of_user = link_device(link) != NULL && near_get(link_device(link)->groups.user_sub) == reader_sub;

    return sub_flag_if(sub->is_told, HANDOVER_IS_TOLD) | sub_flag_if(sub->is_unasked, HANDOVER_IS_UNASKED) |
           sub_flag_if(sub->is_bounded, HANDOVER_IS_BOUNDED) | sub_flag_if(sub->is_watched, HANDOVER_IS_WATCHED) |
           sub_flag_if(sub->is_notify, HANDOVER_IS_SUB_NOTIFY) | sub_flag_if(sub->is_noted, HANDOVER_IS_SUB_NOTED) |
           sub_flag_if(sub->is_own, HANDOVER_IS_OWN) | sub_flag_if(sub->is_moved, HANDOVER_IS_MOVED) |
           sub_flag_if(sub->is_kept, HANDOVER_IS_KEPT) | sub_flag_if(sub->is_named, HANDOVER_IS_NAMED) |
           sub_flag_if(sub->is_keeping, HANDOVER_IS_KEEPING) | sub_flag_if(sub->is_heard, HANDOVER_IS_HEARD) |
           sub_flag_if(is_of_user, HANDOVER_IS_OF_USER) |
           sub_flag_if(presence_follow_is_told(link, reader_sub), HANDOVER_IS_PRESENCE_TOLD);
}

static void put_sub(struct buf *buf, const struct link *link, const struct reader_sub *sub)
{
    const struct cut_frame *cut   = link_waiting(link) == NULL ? NULL : &link_waiting(link)->cut;
    struct start            start = subscription_start_again(&sub->sub);

    /* The rest of a frame that was cut is among the bytes that wait. */
    if (cut != NULL && cut_frame_is_there(cut) && cut->sub == sub)
        start = (struct start){ START_AFTER, cut->seq, cut->epoch };
    handover_put_sub(buf, &(struct handover_sub){
        .channel = channel_name_span(subscription_name(&sub->sub)), .start = (uint8_t)start.kind, .seq = start.seq,
        .epoch = start.epoch, .flags = sub_flags(link, sub), .quiet = sub->sub.is_notify ? sub->sub.told_alias : 0,
    });
}

static void put_words(const struct link *link, struct link_parcel *parcel)
{
    const struct link_waiting *waiting = link_waiting(link);

    buf_clear(&parcel->words);
    if (waiting != NULL && cut_frame_is_there(&waiting->cut))
        buf_put(&parcel->words, span_skip(frame_span(waiting->cut.frame, link->is_chunked), waiting->cut.at));
    if (waiting != NULL)
        buf_put(&parcel->words, buf_span(&waiting->words));
    parcel->link.words = buf_span(&parcel->words);
}

/* A frame that was let go would have to be made again from the log first. */
static bool link_is_whole(const struct link *link)
{
    const struct link_waiting *waiting = link_waiting(link);

    return waiting == NULL || !cut_frame_is_there(&waiting->cut) || waiting->cut.frame != NULL;
}

_Static_assert(sizeof ((struct reader *)0)->sub_count == 2 && HANDOVER_SUBS_MAX == UINT16_MAX, "all subscriptions can be told");

/* False: it can't move now. */
static bool link_tell(const struct link *link, struct link_parcel *parcel)
{
    struct session_worker *worker = link->worker;

    if (!link_has_socket(link) || !link_is_whole(link) || (link->kind->is_busy != NULL && link->kind->is_busy(link)))
        return false;
    parcel->link = (struct handover_link){ .key = link->key, .flags = link_flags(link), .sub_count = link_reader(link)->sub_count };
    put_words(link, parcel);
    buf_clear(&parcel->peer);
    if (stream_is_named(link_stream(link)) && stream_put_peer(link_stream(link), &parcel->peer))
        parcel->link.peer = buf_span(&parcel->peer);
    if (buf_is_over(&parcel->words))
        return false;
    if (link->holder != NULL) {
        parcel->link.flags |= HANDOVER_HAS_HOLDER;
        worker->port->tell_identity(worker->ctx, link->holder, &parcel->scratch, &parcel->link.holder);
    }
    return device_link_hand_over(link, parcel) && link->kind->hand_over(link, parcel);
}

static void link_put(const struct link *link, const struct link_parcel *parcel, struct buf *buf)
{
    size_t at = buf->len;

    handover_put_link(buf, &parcel->link);
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        put_sub(buf, link, sub);
    buf_put(buf, buf_span(&parcel->bounds));
    handover_end_link(buf, at);
}

static void parcel_init(struct link_parcel *parcel)
{
    buf_init(&parcel->words, WORDS_BYTES_MOST);
    buf_init(&parcel->state, SIZE_MAX / 2);
    buf_init(&parcel->scratch, SIZE_MAX / 2);
    buf_init(&parcel->peer, IP_TEXT_BYTES_MAX);
    buf_init(&parcel->bounds, SIZE_MAX / 2);
}

static void parcel_fini(struct link_parcel *parcel)
{
    buf_fini(&parcel->words);
    buf_fini(&parcel->state);
    buf_fini(&parcel->scratch);
    buf_fini(&parcel->peer);
    buf_fini(&parcel->bounds);
}

size_t session_worker_hand_over(struct session_worker *worker, struct buf *buf, void (*moved)(void *ctx, int socket), void *ctx)
{
    struct link_parcel *parcel = calloc(1, sizeof *parcel);
    size_t              count  = 0;

    must(parcel != NULL && loop_is_here(worker->loop));
    parcel_init(parcel);
    for (struct near_list *at = near_list_next(&worker->lists->links); at != &worker->lists->links; at = near_list_next(at)) {
        struct link *link = container_of(at, struct link, in_worker);
        link->has_moved   = link_tell(link, parcel);
        if (!link->has_moved)
            continue;
        link_put(link, parcel, buf);
        moved(ctx, stream_tcp_socket(link_stream(link)));
        count++;
    }
    parcel_fini(parcel);
    free(parcel);
    return count;
}

void session_worker_forget_moved(struct session_worker *worker)
{
    for (struct near_list *at = near_list_next(&worker->lists->links), *next; at != &worker->lists->links; at = next) {
        struct link *link = container_of(at, struct link, in_worker);
        next              = near_list_next(at);
        if (link->has_moved)
            link->kind->lost(link);
    }
}

/* --- the new process -------------------------------------------------------------------------------------------- */

static void link_take_flags(struct link *link, uint32_t flags)
{
    link->is_chunked    = (flags & HANDOVER_IS_CHUNKED) != 0;
    link->is_let_in     = (flags & HANDOVER_IS_LET_IN) != 0;
    link->is_farewell   = (flags & HANDOVER_IS_FAREWELL) != 0;
    link->is_notify     = (flags & HANDOVER_IS_NOTIFY) != 0;
    link->is_noted      = (flags & HANDOVER_IS_NOTED) != 0;
    link->is_user_noted = (flags & HANDOVER_IS_USER_NOTED) != 0;
    link->has_row       = (flags & HANDOVER_HAS_ROW) != 0;
    if (link_expiry(link) != NULL)
        link_expiry(link)->is_told = (flags & HANDOVER_IS_EXPIRY_TOLD) != 0;
}

static void sub_take_flags(struct reader_sub *sub, const struct handover_sub *told)
{
    sub->sub.is_unasked = (told->flags & HANDOVER_IS_UNASKED) != 0;
    sub->sub.is_bounded = (told->flags & HANDOVER_IS_BOUNDED) != 0;
    sub->sub.is_watched = (told->flags & HANDOVER_IS_WATCHED) != 0;
    sub->sub.is_notify  = (told->flags & HANDOVER_IS_SUB_NOTIFY) != 0;
    sub->sub.is_noted   = (told->flags & HANDOVER_IS_SUB_NOTED) != 0;
    sub->sub.is_heard   = (told->flags & HANDOVER_IS_HEARD) != 0;
    sub->sub.told_alias = sub->sub.is_notify ? told->quiet : 0;
}

/* The rest is of links of a session. */
static void sub_take_device(struct device_link *device, struct reader_sub *sub, const struct handover_sub *told)
{
    sub->sub.is_own     = (told->flags & HANDOVER_IS_OWN) != 0;
    sub->sub.is_moved   = (told->flags & HANDOVER_IS_MOVED) != 0;
    sub->sub.is_kept    = (told->flags & HANDOVER_IS_KEPT) != 0;
    sub->sub.is_named   = (told->flags & HANDOVER_IS_NAMED) != 0;
    sub->sub.is_keeping = (told->flags & HANDOVER_IS_KEEPING) != 0;
    device->own_count += sub->sub.is_own;
    device->kept_count += sub->sub.is_own && sub->sub.is_kept;
    if (sub->sub.is_own && (told->flags & HANDOVER_IS_OF_USER) != 0)
        device->groups.user_sub = near_to(sub);
}

static void link_take_sub(struct link *link, const struct handover_sub *told)
{
    struct session_worker *worker = link->worker;
    struct channel_name   *name;

    /* A channel whose namespace is gone is left, as by a restart; what the client knows of it is only its place. */
    if (channel_name_new(worker->namespaces, worker->hash_key, told->channel, &name) != CHANNEL_NAME_OK)
        return;
    struct reader_sub *sub = link_follow(link, name, (struct start){ (enum start_kind)told->start, told->seq, told->epoch });
    channel_name_unref(name);
    sub_take_flags(sub, told);
    if (link_device(link) != NULL)
        sub_take_device(link_device(link), sub, told);
    if ((told->flags & HANDOVER_IS_TOLD) == 0)
        return;
    reader_note_told_before(link_reader(link), sub);
    if (subscription_has_presence(&sub->sub))
        presence_follow_go_on(link, sub, (told->flags & HANDOVER_IS_PRESENCE_TOLD) != 0);
}

static struct link *link_of_transport(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                      struct identity *holder)
{
    switch ((enum handover_transport)told->transport) {
    case HANDOVER_WS_JSON:
    case HANDOVER_WS_BIN: return ws_session_take_over(worker, stream, told, holder);
    case HANDOVER_NATIVE: return native_session_take_over(worker, stream, told, holder);
    case HANDOVER_SSE:
    case HANDOVER_SSE_RAW:
    case HANDOVER_NDJSON:
    case HANDOVER_MULTIPART: return stream_session_take_over(worker, stream, told, holder);
    case HANDOVER_TRANSPORTS: break;
    }
    must(!"a transport that the codec does not know");
}

/* The session could not move, or is another link's by now: the client hears which of both. */
static void link_end_without_session(struct link *link, enum open_outcome outcome)
{
    if (outcome == OPEN_STALE)
        link->kind->end(link, LINK_END_REPLACED);
    else
        link->kind->leave(link);
}

static bool link_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                           struct span subs)
{
    struct identity    *holder  = NULL;
    enum open_outcome   outcome = OPEN_DONE;
    struct handover_sub sub;

    stream_name_peer_by(stream, told->peer);
    if ((told->flags & HANDOVER_HAS_HOLDER) != 0)
        holder = worker->port->hear_identity(worker->ctx, &told->holder);
    struct link *link = link_of_transport(worker, stream, told, holder);
    identity_unref(holder);
    if (link == NULL)
        return false;
    link_take_flags(link, told->flags);
    if ((told->flags & HANDOVER_HAS_DEVICE) != 0)
        outcome = device_link_take_over(link, told);
    for (uint32_t i = 0; i < told->sub_count; i++) {
        must(handover_get_sub(&subs, &sub));  /* handover_check() has seen them */
        link_take_sub(link, &sub);
    }
    reader_reverse(link_reader(link));
    device_link_take_bounds(link, told, subs);
    if ((told->flags & HANDOVER_IS_QUIET) != 0)
        presence_follow_rest(link);
    buf_put(link_words(link), told->words);
    link_mark(link);
    if (outcome != OPEN_DONE)
        link_end_without_session(link, outcome);
    return true;
}

bool session_worker_take_over(struct session_worker *worker, int socket, struct span body)
{
    struct handover_link *told = malloc(sizeof *told);
    struct stream        *stream;
    bool                  is_taken = false;

    must(told != NULL && loop_is_here(worker->loop));
    if (stream_tcp_new(worker->loop, socket, &stream) != RC_OK)
        close(socket);
    else if (!handover_get_link(&body, told) || told->key == 0)
        stream_close(stream);
    else
        is_taken = link_take_over(worker, stream, told, body);
    free(told);
    return is_taken;
}
