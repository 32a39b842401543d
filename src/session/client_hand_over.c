/* client_hand_over.c - what of a client moves to another process with its link. */
#include "base/must.h"
#include "session/client.h"
#include "session/hand_over.h"

bool client_is_busy(const struct link *link)
{
    const struct client_work *work = container_of(link, const struct client, link)->work;

    return work != NULL && (work->connecting != NULL || work->unfenced != NULL || work->untaken.len > 0 || work->publish_count > 0 ||
                            !list_is_empty(&work->publishes) || !list_is_empty(&work->questions) ||
                            !list_is_empty(&work->requests) || !list_is_empty(&work->refs));
}

void client_hand_over(const struct client *client, struct link_parcel *parcel)
{
    const struct heartbeat   *heartbeat = &client->heartbeat;
    const struct client_work *work      = client->work;
    struct handover_link     *told      = &parcel->link;

    told->network  = client->network;
    told->heard_at = heartbeat->heard_at;
    told->asked_at = heartbeat->asked_at;
    told->is_asked = heartbeat->is_asked;
    told->next_ms  = heartbeat->next_ms;
    told->beats    = heartbeat->beats;
    if (work == NULL)
        return;
    told->gathered       = buf_span(&work->in);
    told->gathered_since = (uint64_t)work->in_since;
    told->rest           = span_of(work->rest, work->rest_len);
    told->fields         = buf_span(&work->fields);
}

void client_take_over(struct client *client, const struct handover_link *told)
{
    client->network            = told->network;
    client->heartbeat.heard_at = told->heard_at;
    client->heartbeat.asked_at = told->asked_at & 0x7fffffff;
    client->heartbeat.is_asked = told->is_asked != 0;
    client->heartbeat.next_ms  = told->next_ms & 0x7ffffff;
    client->heartbeat.beats    = told->beats & 31;
    if (told->gathered.len > 0) {
        struct client_work *work = client_get_work(client);
        buf_put(&work->in, told->gathered);
        work->in_since = (msec)told->gathered_since;
        client->link.worker->gathered_bytes += told->gathered.len;
    }
    client_keep_rest(client, span_head(told->rest, CLIENT_REST_BYTES_MAX));
    if (told->fields.len > 0)
        buf_put(&client_get_work(client)->fields, told->fields);
}
