#include "main/hand_over.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "base/version.h"
#include "codec/handover/handover.h"
#include "main/memory_hand_over.h"
#include "main/presence_hand_over.h"
#include "main/server.h"
#include "main/sessions_hand_over.h"
#include "main/take_over_path.h"
#include "main/worker_hand_over.h"
#include "reactor/log.h"
#include "reactor/parcel_socket.h"

enum {
    PATH_BYTES_MOST = 4096,
    SAY_MS          = 2000,   /* to take a message */
    HELLO_MS        = 2000,
    READY_MS        = 10000,
    TAKEN_MS        = 15000,
    ANSWER_MS       = 200,    /* for all that is under way, … */
    SETTLE_MS       = 2000,   /* … and for what the store answers */
    STAND_MS        = 3000,   /* for all threads to stand still */
    SUCCESSOR_MS    = 5000,
    WHY_BYTES       = 512,
};

/* --- where ------------------------------------------------------------------------------------------------------- */

void hand_over_open(struct hand_over *hand, const struct settings *settings)
{
    hand->fd = hand->successor = -1;
    buf_init(&hand->path, PATH_BYTES_MOST);
    if (!take_over_path(settings, &hand->path) || settings->cluster_kind != CLUSTER_NONE)
        return;
    enum rc rc = parcel_listen(hand->path.at, &hand->fd);
    if (rc != RC_OK)
        LOG(LOG_WARN, "no_take_over", log_str("path", hand->path.at), log_str("why", rc == RC_BUSY ? "another server listens there"
                                                                                                 : strerror(errno)));
}

void hand_over_close(struct hand_over *hand)
{
    if (hand->fd >= 0) {
        unlink(hand->path.at);
        close(hand->fd);
    }
    hand->fd = -1;
    buf_fini(&hand->path);
}

/* --- words ------------------------------------------------------------------------------------------------------- */

struct talk {
    int        peer;
    struct buf out;
    char       in[PARCEL_BYTES_MAX];
    char       why[WHY_BYTES];  /* it ends; "": nothing to be said */
};

static bool talk_send(struct talk *talk, const int *sockets, size_t count)
{
    bool is_sent = !buf_is_over(&talk->out) && parcel_send(talk->peer, buf_span(&talk->out), sockets, count, SAY_MS);

    buf_clear(&talk->out);
    if (!is_sent)
        snprintf(talk->why, sizeof talk->why, "the new process takes no message");
    return is_sent;
}

static bool talk_word(struct talk *talk, enum handover_kind word)
{
    handover_put_word(&talk->out, word);
    return talk_send(talk, NULL, 0);
}

/* False: it was not this message, or none came in time. The new process may say why it gives up. */
static bool talk_hear(struct talk *talk, enum handover_kind wanted, msec within_ms, struct span *ret_body)
{
    struct handover_refusal refusal;
    enum handover_kind      kind;
    int                     sockets[PARCEL_SOCKETS_MAX];
    size_t                  count;
    int                     got  = parcel_receive(talk->peer, talk->in, sockets, &count, within_ms);
    struct span             rest = span_of(talk->in, got > 0 ? (size_t)got : 0);

    while (count > 0)
        close(sockets[--count]);
    if (got <= 0 || !handover_next(&rest, &kind, ret_body) || rest.len > 0) {
        snprintf(talk->why, sizeof talk->why, "%s", got == 0 ? "the new process has ended" : "the new process did not answer in time");
        return false;
    }
    if (kind == HANDOVER_REFUSAL && handover_get_refusal(*ret_body, &refusal)) {
        snprintf(talk->why, sizeof talk->why, "%.*s", SPAN_ARG(refusal.why));
        return false;
    }
    if (kind != wanted)
        snprintf(talk->why, sizeof talk->why, "the new process sent something else than expected");
    return kind == wanted;
}

static void talk_refuse(struct talk *talk)
{
    handover_put_refusal(&talk->out, &(struct handover_refusal){ span_str(talk->why) });
    parcel_send(talk->peer, buf_span(&talk->out), NULL, 0, SAY_MS);
    buf_clear(&talk->out);
}

/* --- before anything moves ---------------------------------------------------------------------------------------- */

static bool hello_fits(struct talk *talk, const struct server *server, const struct handover_hello *hello)
{
    struct buf data;

    buf_init(&data, PATH_BYTES_MOST);
    take_over_data(server_settings(server), &data);
    if (hello->version != HANDOVER_VERSION)
        snprintf(talk->why, sizeof talk->why, "the server that runs (version " LONGWIRE_VERSION ") hands over in version %d, and this "
                 "program wants %u: restart instead", HANDOVER_VERSION, (unsigned)hello->version);
    else if (!span_eq(hello->data, buf_span(&data)))
        snprintf(talk->why, sizeof talk->why, "the server that runs there serves other data (settings `store` and `data`)");
    else if (hello->loops != server->worker_count)
        snprintf(talk->why, sizeof talk->why, "the server that runs has %u loops, and this configuration says %u (setting `loops`): "
                 "restart instead", server->worker_count, (unsigned)hello->loops);
    buf_fini(&data);
    return talk->why[0] == '\0';
}

static bool offer_listens(struct talk *talk, const struct server *server)
{
    int sockets[LOOPS_MAX];

    for (size_t i = 0; i < server->listen_count; i++) {
        const struct listen_address *listen = &server->listens[i];
        for (unsigned at = 0; at < server->worker_count; at++)
            sockets[at] = listener_socket(server->workers[at].listeners[i]);
        handover_put_listen(&talk->out, &(struct handover_listen){ span_str(listen_scheme(listen)), span_str(listen->text) });
        if (!talk_send(talk, sockets, server->worker_count))
            return false;
    }
    return true;
}

_Static_assert((int)LOOPS_MAX <= (int)PARCEL_SOCKETS_MAX, "one message takes the sockets of an address");

static bool offer(struct talk *talk, const struct server *server)
{
    handover_put_offer(&talk->out, &(struct handover_offer){
        .program = SPAN(LONGWIRE_VERSION), .hash_keys = { server->hash_key.k0, server->hash_key.k1 },
        .incarnation = server->incarnation, .started_wall = (uint64_t)server->started_wall,
        .listen_count = (uint32_t)server->listen_count,
    });
    return talk_send(talk, NULL, 0) && offer_listens(talk, server) && talk_word(talk, HANDOVER_READY);
}

/* --- standing still ----------------------------------------------------------------------------------------------- */

static void wake_all(struct server *server)
{
    server_wake_workers(server);
    mailbox_ring(&server->writer.loop.mailbox);
}

/* False: not all threads stand still; what stands goes on again. */
static bool stand_still(struct server *server)
{
    struct hand_over_gate *gate = &server->gate;

    const msec answer_by = clock_now() + ANSWER_MS, settle_by = clock_now() + SETTLE_MS;

    gate_hold(gate, answer_by, settle_by);
    wake_all(server);
    if (!gate_await_settled(gate, server->worker_count, answer_by)) {
        wake_all(server);
        gate_await_settled(gate, server->worker_count, settle_by);
    }
    gate_move(gate, GATE_PARK);
    wake_all(server);
    if (!gate_await_parked(gate, server->worker_count, clock_now() + STAND_MS))
        return false;
    wake_all(server);
    return gate_await_writer(gate, clock_now() + STAND_MS);
}

static void go_on(struct server *server)
{
    gate_move(&server->gate, GATE_OPEN);
    wake_all(server);
}

static void take_store_back(struct server *server)
{
    struct store *store = server->stores.durable;
    char          why[WHY_BYTES] = "";

    if (store->ops->take_back != NULL && store->ops->take_back(store, why, sizeof why) != RC_OK)
        LOG(LOG_ERROR, "store_not_taken_back", log_str("why", why));
}

/* --- what moves --------------------------------------------------------------------------------------------------- */

static bool send_sockets(struct talk *talk, const int *sockets, size_t count)
{
    while (count > 0) {
        size_t some = count < PARCEL_SOCKETS_MAX ? count : PARCEL_SOCKETS_MAX;
        handover_put_word(&talk->out, HANDOVER_SOCKETS);
        if (!talk_send(talk, sockets, some))
            return false;
        sockets += some;
        count -= some;
    }
    return true;
}

static bool send_part(struct talk *talk, unsigned number, struct span records, const int *sockets, size_t count)
{
    int file = parcel_file(records);

    if (file < 0) {
        snprintf(talk->why, sizeof talk->why, "no memory for what moves: %s", strerror(errno));
        return false;
    }
    handover_put_part(&talk->out, &(struct handover_part){ number, (uint32_t)count });
    bool is_sent = talk_send(talk, &file, 1) && send_sockets(talk, sockets, count);
    close(file);
    return is_sent;
}

static bool send_memory(struct talk *talk, const struct server *server)
{
    struct buf records;

    buf_init(&records, SIZE_MAX / 2);
    uint64_t count = memory_put(&server->stores, &records);
    count += sessions_put(&server->writer.devices, &records);
    count += presence_put(&server->writer.presence, &records);
    handover_put_end(&records, count);
    bool is_sent = send_part(talk, server->worker_count, buf_span(&records), NULL, 0);
    buf_fini(&records);
    return is_sent;
}

static bool send_all(struct talk *talk, const struct server *server, size_t *ret_count)
{
    *ret_count = 0;
    for (unsigned i = 0; i < server->worker_count; i++) {
        const struct moving *moving = server->workers[i].moving;
        if (!send_part(talk, i, buf_span(&moving->records), moving->sockets, moving->count))
            return false;
        *ret_count += moving->count;
    }
    return send_memory(talk, server) && talk_word(talk, HANDOVER_READY);
}

/* All threads stand still. False: the new process does not serve. */
static bool give(struct talk *talk, struct hand_over *hand, struct server *server, size_t *ret_count)
{
    struct store *store = server->stores.durable;
    struct span   body;

    if (store->ops->let_go != NULL)
        store->ops->let_go(store);
    if (!send_all(talk, server, ret_count) || !talk_hear(talk, HANDOVER_TAKEN, TAKEN_MS, &body)) {
        close(talk->peer);  /* from now on the new process knows that it does not serve */
        talk->peer = -1;
        take_store_back(server);
        return false;
    }
    hand_over_close(hand);  /* the new one listens there next */
    talk_word(talk, HANDOVER_GONE);
    return true;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static bool hand_over_to(struct talk *talk, struct hand_over *hand, struct server *server)
{
    struct handover_hello hello;
    struct store         *store = server->stores.durable;
    struct span           body;
    size_t                count = 0;

    if (!talk_hear(talk, HANDOVER_HELLO, HELLO_MS, &body) || !handover_get_hello(body, &hello)) {
        snprintf(talk->why, sizeof talk->why, "no hello came");
        return false;
    }
    if (!hello_fits(talk, server, &hello)) {
        talk_refuse(talk);
        return false;
    }
    if (!offer(talk, server) || !talk_hear(talk, HANDOVER_READY, READY_MS, &body))
        return false;
    if (store->ops->make_light != NULL)
        store->ops->make_light(store);
    const msec began    = clock_now();
    bool       is_still = stand_still(server);
    const msec stood    = clock_now();
    bool       is_given = is_still && give(talk, hand, server, &count);
    if (!is_still)
        snprintf(talk->why, sizeof talk->why, "a thread of the server that runs does not stand still");
    if (!is_given)
        go_on(server);
    else
        gate_move(&server->gate, GATE_LEAVE);
    if (is_given)
        LOG(LOG_INFO, "handed_over", log_u64("links", count), log_u64("ms", (uint64_t)(clock_now() - began)),
            log_u64("settle_ms", (uint64_t)(stood - began)));
    return is_given;
}

bool hand_over_serve(struct hand_over *hand, struct server *server)
{
    static struct talk talk;

    talk.peer   = parcel_accept(hand->fd);
    talk.why[0] = '\0';
    if (talk.peer < 0)
        return false;
    buf_init(&talk.out, PARCEL_BYTES_MAX);
    bool is_given = hand_over_to(&talk, hand, server);
    if (!is_given)
        LOG(LOG_WARN, "not_handed_over", log_str("why", talk.why));
    if (is_given)
        hand->successor = talk.peer;
    else if (talk.peer >= 0)
        close(talk.peer);
    buf_fini(&talk.out);
    return is_given;
}

void hand_over_await_successor(struct hand_over *hand)
{
    must(hand->successor >= 0);
    parcel_await(hand->successor, SUCCESSOR_MS);
    close(hand->successor);
    hand->successor = -1;
}
