#include "main/take_over.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "base/version.h"
#include "device/presence_move.h"
#include "device/session_move.h"
#include "main/memory_hand_over.h"
#include "main/presence_hand_over.h"
#include "main/server.h"
#include "main/sessions_hand_over.h"
#include "main/take_over_path.h"
#include "main/worker_hand_over.h"
#include "reactor/log.h"
#include "reactor/parcel_socket.h"

enum { PATH_BYTES_MOST = 4096, ANSWER_MS = 20000, SAY_MS = 2000, END_MS = 1000, OFFERED_LISTENS_MAX = ALL_LISTENS };

struct offered_listen {
    char scheme[8], address[LISTEN_TEXT_BYTES_MAX + 1];
    int  sockets[LOOPS_MAX];
    bool is_used;
};

struct taken_part {
    struct span records;  /* mapped; empty: it has not come */
    int        *sockets;
    size_t      count, wanted;
};

struct take_over {
    int                   peer;
    int                   process;    /* the other one: readable once it has ended; -1: not known */
    unsigned              loops;
    struct handover_offer offer;
    struct offered_listen listens[OFFERED_LISTENS_MAX];
    size_t                listen_count;
    struct taken_part     parts[LOOPS_MAX + 1];  /* of the loops, then what is in memory */
    struct taken_part    *part;                  /* whose sockets come now */
    bool                  is_committed;
    struct buf            out;
    char                  in[PARCEL_BYTES_MAX];
    int                   sockets[PARCEL_SOCKETS_MAX];
    size_t                socket_count;          /* of the last message, which nobody has taken */
};

/* --- words -------------------------------------------------------------------------------------------------------- */

static void drop_sockets(int *sockets, size_t count)
{
    for (size_t i = 0; i < count; i++)
        close(sockets[i]);
}

static bool take_say(struct take_over *take)
{
    bool is_said = parcel_send(take->peer, buf_span(&take->out), NULL, 0, SAY_MS);

    buf_clear(&take->out);
    return is_said;
}

/* The next message. RC_GONE: the other process has ended; else `why` is a sentence. */
static enum rc take_hear(struct take_over *take, enum handover_kind *ret_kind, struct span *ret_body, char *why, size_t why_size)
{
    struct handover_refusal refusal;

    drop_sockets(take->sockets, take->socket_count);
    int         got  = parcel_receive(take->peer, take->in, take->sockets, &take->socket_count, ANSWER_MS);
    struct span rest = span_of(take->in, got > 0 ? (size_t)got : 0);
    if (got > 0 && handover_next(&rest, ret_kind, ret_body) && rest.len == 0) {
        if (*ret_kind != HANDOVER_REFUSAL || !handover_get_refusal(*ret_body, &refusal))
            return RC_OK;
        snprintf(why, why_size, "%.*s", SPAN_ARG(refusal.why));
        return RC_DENIED;
    }
    snprintf(why, why_size, "%s", got == 0 ? "the server that runs has given up, or ended"
                                  : got < 0 ? "the server that runs does not answer"
                                            : "what the server that runs sent can't be read");
    return got == 0 ? RC_GONE : RC_BAD;
}

/* --- the offer ---------------------------------------------------------------------------------------------------- */

static enum rc take_listen(struct take_over *take, struct span body)
{
    struct handover_listen told;
    struct offered_listen *listen = &take->listens[take->listen_count];

    if (!handover_get_listen(body, &told) || take->listen_count == OFFERED_LISTENS_MAX || take->socket_count != take->loops ||
        told.scheme.len >= sizeof listen->scheme || told.address.len >= sizeof listen->address)
        return RC_BAD;
    snprintf(listen->scheme, sizeof listen->scheme, "%.*s", SPAN_ARG(told.scheme));
    snprintf(listen->address, sizeof listen->address, "%.*s", SPAN_ARG(told.address));
    memcpy(listen->sockets, take->sockets, take->loops * sizeof(int));
    take->socket_count = 0;
    take->listen_count++;
    return RC_OK;
}

static enum rc take_offer(struct take_over *take, char *why, size_t why_size)
{
    enum handover_kind kind = HANDOVER_END;
    struct span        body;

    enum rc rc = take_hear(take, &kind, &body, why, why_size);
    if (rc == RC_OK && (kind != HANDOVER_OFFER || !handover_get_offer(body, &take->offer)))
        rc = RC_BAD;
    take->offer.program = SPAN("");
    while (rc == RC_OK) {
        rc = take_hear(take, &kind, &body, why, why_size);
        if (rc != RC_OK || kind == HANDOVER_READY)
            break;
        rc = kind == HANDOVER_LISTEN ? take_listen(take, body) : RC_BAD;
    }
    if (rc == RC_OK && take->listen_count != take->offer.listen_count)
        rc = RC_BAD;
    if (rc == RC_BAD && why[0] == '\0')
        snprintf(why, why_size, "what the server that runs offered can't be read");
    return rc;
}

static enum rc take_connect(struct take_over *take, const struct settings *settings, char *why, size_t why_size)
{
    struct buf path;
    enum rc    rc = RC_BAD;

    buf_init(&path, PATH_BYTES_MOST);
    if (settings->cluster_kind != CLUSTER_NONE)
        snprintf(why, why_size, "--take-over: this is a node of a cluster: drain it, and start the new program in its place");
    else if (!take_over_path(settings, &path))
        snprintf(why, why_size, "--take-over: set take_over_socket, in the server that runs and here: without a data directory "
                                "there is no place where they meet");
    else if ((rc = parcel_connect(path.at, &take->peer)) != RC_OK)
        snprintf(why, why_size, "--take-over: no server can be asked at %s (%s): start without --take-over", path.at,
                 rc == RC_GONE ? "none runs there" : strerror(errno));
    buf_fini(&path);
    return rc;
}

/* The other process was killed: what it gave is not whole, or serves as well as if it were there. */
static bool other_has_ended(const struct take_over *take)
{
    return take->process >= 0 && parcel_await(take->process, END_MS);
}

static void take_put_hello(struct take_over *take, const struct settings *settings)
{
    struct buf data;

    buf_init(&data, PATH_BYTES_MOST);
    take_over_data(settings, &data);
    handover_put_hello(&take->out, &(struct handover_hello){ HANDOVER_VERSION, take->loops, SPAN(LONGWIRE_VERSION), buf_span(&data) });
    buf_fini(&data);
}

enum rc take_over_begin(const struct settings *settings, unsigned loops, struct take_over **ret, char *why, size_t why_size)
{
    struct take_over *take = calloc(1, sizeof *take);

    must(take != NULL && loops <= LOOPS_MAX);
    take->peer  = take->process = -1;
    take->loops = loops;
    buf_init(&take->out, PARCEL_BYTES_MAX);
    enum rc rc = take_connect(take, settings, why, why_size);
    if (rc == RC_OK) {
        take->process = parcel_peer(take->peer);
        take_put_hello(take, settings);
        take_say(take);  /* if it is gone, the next line finds out */
        rc = take_offer(take, why, why_size);
    }
    if (rc == RC_OK) {
        *ret = take;
        return RC_OK;
    }
    if (rc == RC_GONE && other_has_ended(take)) {
        LOG(LOG_WARN, "taken_over_from_the_log", log_str("why", "the server that ran has ended before it offered anything"));
        why[0] = '\0';
        rc     = RC_OK;
    }
    take_over_free(take, why);
    *ret = NULL;
    return rc;
}

const struct handover_offer *take_over_offer(const struct take_over *take)
{
    return &take->offer;
}

const int *take_over_sockets(struct take_over *take, const char *scheme, const char *address)
{
    for (size_t i = 0; i < take->listen_count; i++) {
        struct offered_listen *listen = &take->listens[i];
        if (listen->is_used || strcmp(listen->scheme, scheme) != 0 || strcmp(listen->address, address) != 0)
            continue;
        listen->is_used = true;
        return listen->sockets;
    }
    return NULL;
}

/* --- what moves --------------------------------------------------------------------------------------------------- */

static enum rc take_state_part(struct take_over *take, struct span body)
{
    struct handover_part told;

    if (!handover_get_part(body, &told) || told.number > take->loops || take->socket_count != 1 ||
        take->parts[told.number].records.len > 0)
        return RC_BAD;
    take->part         = &take->parts[told.number];
    take->part->wanted = told.sockets;
    return parcel_map(take->sockets[0], &take->part->records);
}

static enum rc take_sockets(struct take_over *take)
{
    struct taken_part *part = take->part;

    if (part == NULL || part->count + take->socket_count > part->wanted)
        return RC_BAD;
    part->sockets = reallocarray(part->sockets, part->count + take->socket_count, sizeof part->sockets[0]);
    must(part->sockets != NULL);
    memcpy(part->sockets + part->count, take->sockets, take->socket_count * sizeof(int));
    part->count += take->socket_count;
    take->socket_count = 0;
    return RC_OK;
}

static bool take_is_whole(const struct take_over *take)
{
    struct span records[LOOPS_MAX];

    for (unsigned i = 0; i <= take->loops; i++) {
        const struct taken_part *part = &take->parts[i];
        size_t                   sockets;
        if (!handover_check(part->records, &sockets) || sockets != part->count || part->count != part->wanted)
            return false;
        if (i < take->loops)
            records[i] = part->records;
    }
    return handover_keys_differ(records, take->loops);
}

static enum rc take_parts(struct take_over *take, char *why, size_t why_size)
{
    enum handover_kind kind = HANDOVER_END;
    struct span        body;
    enum rc            rc = RC_OK;

    while (rc == RC_OK && (rc = take_hear(take, &kind, &body, why, why_size)) == RC_OK && kind != HANDOVER_READY)
        rc = kind == HANDOVER_PART ? take_state_part(take, body) : kind == HANDOVER_SOCKETS ? take_sockets(take) : RC_BAD;
    if (rc == RC_OK && !take_is_whole(take))
        rc = RC_CORRUPT;
    if (rc != RC_OK && why[0] == '\0')
        snprintf(why, why_size, "what the server that runs gave is damaged, or of another version");
    return rc;
}

static void forget_parts(struct take_over *take)
{
    for (unsigned i = 0; i <= take->loops; i++) {
        struct taken_part *part = &take->parts[i];
        drop_sockets(part->sockets, part->count);
        free(part->sockets);
        parcel_unmap(part->records);
        *part = (struct taken_part){ 0 };
    }
}

enum rc take_over_receive(struct take_over *take, char *why, size_t why_size)
{
    handover_put_word(&take->out, HANDOVER_READY);
    take_say(take);
    enum rc rc = take_parts(take, why, why_size);
    if (rc != RC_GONE || !other_has_ended(take))
        return rc;
    LOG(LOG_WARN, "taken_over_from_the_log", log_str("why", "the server that ran has ended before all was said"));
    why[0] = '\0';
    forget_parts(take);
    return RC_OK;
}

void take_over_memory(struct take_over *take, struct server *server)
{
    struct taken_part *part = &take->parts[take->loops];
    size_t             lost = memory_take(&server->stores, &server->namespaces, &server->hash_key, part->records);

    if (lost > 0)
        LOG(LOG_WARN, "memory_left_behind", log_u64("records", lost));
}

/* What the writer knows of devices: before the links, which go on with it. */
static void take_devices(const struct take_over *take, struct server *server)
{
    const struct span     records  = take->parts[take->loops].records;
    struct writer_thread *writer   = &server->writer;
    const size_t          sessions = sessions_take(&writer->devices, &server->namespaces, &server->hash_key, records);
    const size_t          present  = presence_take(&writer->presence, &server->namespaces, &server->hash_key, records);

    if (sessions + present > 0)
        LOG(LOG_WARN, "sessions_left_behind", log_u64("records", sessions), log_u64("present", present));
}

void take_over_links(struct take_over *take, struct server *server)
{
    size_t lost = 0, count = 0;

    take_devices(take, server);
    for (unsigned i = 0; i < take->loops; i++) {
        struct taken_part *part = &take->parts[i];
        lost += worker_take_over(&server->workers[i], part->records, part->sockets, part->count);
        count += part->count;
        part->count = 0;
    }
    devices_settle_taken(&server->writer.devices);
    LOG(lost > 0 ? LOG_WARN : LOG_INFO, "taken_over", log_u64("links", count - lost), log_u64("lost", lost));
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

enum rc take_over_commit(struct take_over *take, char *why, size_t why_size)
{
    enum handover_kind kind = HANDOVER_END;
    struct span        body;

    handover_put_word(&take->out, HANDOVER_TAKEN);
    take_say(take);
    enum rc rc = take_hear(take, &kind, &body, why, why_size);
    if ((rc == RC_OK && kind == HANDOVER_GONE) || other_has_ended(take)) {
        why[0]             = '\0';
        take->is_committed = true;
        return RC_OK;
    }
    if (why[0] == '\0')
        snprintf(why, why_size, "the server that runs did not let go");
    return rc != RC_OK ? rc : RC_BAD;
}

static void tell_why(struct take_over *take, const char *why)
{
    handover_put_refusal(&take->out, &(struct handover_refusal){ span_str(why) });
    take_say(take);
}

void take_over_free(struct take_over *take, const char *why)
{
    if (take == NULL)
        return;
    if (!take->is_committed && take->peer >= 0 && why != NULL && why[0] != '\0')
        tell_why(take, why);
    for (size_t i = 0; i < take->listen_count; i++)
        if (!take->listens[i].is_used)
            drop_sockets(take->listens[i].sockets, take->loops);
    drop_sockets(take->sockets, take->socket_count);
    forget_parts(take);
    if (take->peer >= 0)
        close(take->peer);
    if (take->process >= 0)
        close(take->process);
    buf_fini(&take->out);
    free(take);
}
