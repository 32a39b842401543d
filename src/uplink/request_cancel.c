/* request_cancel.c - a client cancels a request with which another node calls the back end. The row CALL says which node; it is told
 * by a notice (PEER_CANCEL):
 *
 *     version(1) · user · device · id
 *
 * in the texts of codec/bus/bus_body.h. A notice may be lost, and a row may be unreadable now: then the call goes on. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/bus/bus_body.h"
#include "device/row_kind.h"
#include "message/user_name.h"
#include "node/peer_question.h"
#include "uplink/requests_priv.h"

enum { SEEK_ROW_BYTES = 1024 };

/* Who calls? Counts as a request of its device. */
struct request_seek {
    struct request_read    read;
    struct request_device *device;
    struct ledger_key      key;
    char                   bytes[];
};

/* --- telling ---------------------------------------------------------------------------------------------------- */

static void cancel_told(struct peer_question *question, struct writer *writer)
{
    (void)writer;
    command_free(&question->command);
}

static void cancel_notify(struct requests *requests, const struct call_row *row, struct span key)
{
    struct peer_question *notice = peer_question_new(PEER_CANCEL);
    struct span           user, device, id;
    uint32_t              piece;

    must(request_key_get(key, &user, &device, &id, &piece) && row->node.len < sizeof notice->node);
    notice->is_notice   = true;
    notice->settled     = cancel_told;
    notice->incarnation = row->incarnation;
    memcpy(notice->node, row->node.at, row->node.len);
    bus_body_begin(&notice->body);
    bus_put_text(&notice->body, user);
    bus_put_text(&notice->body, device);
    bus_put_text(&notice->body, id);
    writer_ask_peers(requests->setup.writer, notice);
}

/* --- who calls? ------------------------------------------------------------------------------------------------- */

/* A row of this node is of a request that ended here meanwhile. */
static void seek_found(struct requests *requests, const struct ledger_row *found, struct span key)
{
    struct call_row row;

    if (found->generation != 0 && call_row_get(found->value, &row) && row.node.len <= NODE_RECORD_NAME_MAX &&
        row.incarnation != requests->setup.self.incarnation)
        cancel_notify(requests, &row, key);
}

static void seek_came(struct request_read *read)
{
    struct request_seek *seek     = container_of(read, struct request_seek, read);
    struct requests     *requests = read->requests;

    if (read->read.rc == RC_OK && read->read.row_count == 1)
        seek_found(requests, &read->read.rows[0], seek->key.bytes);
    requests->seek_count--;
    request_device_end(seek->device);
    ledger_read_fini(&read->read);
    free(seek);
}

static void seek_begin(struct requests *requests, struct request_device *device, struct span key)
{
    struct request_seek *seek = calloc(1, sizeof *seek + key.len);

    must(seek != NULL);
    memcpy(seek->bytes, key.at, key.len);
    seek->device    = device;
    seek->key       = (struct ledger_key){ ROW_CALL, span_of(seek->bytes, key.len) };
    seek->read.came = seek_came;
    seek->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = &seek->key, .key_count = 1, .bytes_max = SEEK_ROW_BYTES };
    requests->seek_count++;
    request_read_send(requests, &seek->read);
}

void request_cancel_elsewhere(struct requests *requests, struct span user, struct span device, struct span id)
{
    struct request_device *counts;
    struct buf             key;

    if (requests->seek_count >= REQUEST_SEEKS_MAX)
        return;
    buf_init(&key, LEDGER_KEY_BYTES_MAX);
    request_key_put(&key, user, device, id);
    counts = request_device_begin(requests, span_head(buf_span(&key), user.len + 1 + device.len), false);
    if (counts != NULL)
        seek_begin(requests, counts, buf_span(&key));
    buf_fini(&key);
}

/* --- being told ------------------------------------------------------------------------------------------------- */

bool requests_told_cancel(struct requests *requests, struct span body)
{
    struct span          user, device, id;
    struct request_work *work;
    struct buf           name;

    if (!bus_body_open(&body) || !bus_get_text(&body, USER_NAME_BYTES_MAX, &user) ||
        !bus_get_text(&body, DEVICE_NAME_BYTES_MAX, &device) || !bus_get_text(&body, REQUEST_ID_BYTES_MAX, &id))
        return false;
    buf_init(&name, LEDGER_KEY_BYTES_MAX);
    request_key_put(&name, user, device, SPAN(""));
    work = request_work_find(requests, buf_span(&name), id);
    if (work != NULL && work->stage != REQUEST_FOLLOWING)
        request_call_cancel(work);
    buf_fini(&name);
    return true;
}
