#include "session/conn_follow.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/connection_key.h"

/* A publish that waits for its connection to follow. */
struct addressed_publish {
    struct list             in_worker;
    uint64_t                key;
    struct publish_command *publish;
    msec                    since;
};

enum { ADDRESSED_WAIT_MS_MAX = 5000 };

struct reader_sub *link_follow_own(struct link *link, struct channel_name *name)
{
    struct reader_sub *sub = link_follow(link, name, (struct start){ START_NOW, 0, 0 });

    sub->sub.is_unasked = true;
    sub->sub.is_heard   = true;
    /* A frame that is shared with other streams says the place of its own channel and nothing else. */
    if (link->needs_all)
        link->encoding = ENCODING_PRIVATE;
    return sub;
}

/* --- by the server's own key -------------------------------------------------------------------------------------- */

static bool has_addressed(const struct session_worker *worker, uint64_t key)
{
    for (const struct list *at = worker->addressed.next; at != &worker->addressed; at = at->next)
        if (container_of(at, struct addressed_publish, in_worker)->key == key)
            return true;
    return false;
}

static bool link_waits_to_follow(struct session_worker *worker, struct link *link, struct channel_name *name)
{
    struct reader_sub *sub = reader_find(link_reader(link), channel_name_span(name));

    if (sub == NULL)
        sub = link_follow_own(link, name);
    return !subscription_is_placed(&sub->sub) || has_addressed(worker, link->key);
}

bool session_worker_address(struct session_worker *worker, struct publish_command *publish)
{
    struct channel_name *name = publish->append.message->channel;
    uint64_t             key;

    must(conn_channel_key(name, &key));
    struct link *link = session_worker_find(worker, key);
    if (link == NULL || link->is_over || worker->is_stopping || !link_waits_to_follow(worker, link, name))
        return false;
    struct addressed_publish *addressed = calloc(1, sizeof *addressed);
    must(addressed != NULL);
    addressed->key     = key;
    addressed->publish = publish;
    addressed->since   = worker->loop->now;
    list_push(&worker->addressed, &addressed->in_worker);
    return true;
}

static bool addressed_may_go(struct session_worker *worker, const struct addressed_publish *addressed)
{
    struct link *link = session_worker_find(worker, addressed->key);

    if (link == NULL || worker->is_stopping || worker->loop->now - addressed->since >= ADDRESSED_WAIT_MS_MAX)
        return true;
    const struct reader_sub *sub =
        reader_find(link_reader(link), channel_name_span(addressed->publish->append.message->channel));
    return sub == NULL || subscription_is_placed(&sub->sub);
}

/* Those of one connection keep their order: what the first waits for, the next one waits for, too. */
void session_worker_send_addressed(struct session_worker *worker)
{
    for (struct list *at = worker->addressed.next, *next; at != &worker->addressed; at = next) {
        struct addressed_publish *addressed = container_of(at, struct addressed_publish, in_worker);
        next                                = at->next;
        if (!addressed_may_go(worker, addressed))
            continue;
        list_take(at);
        shard_send_on(worker->shard, &addressed->publish->command);
        free(addressed);
    }
}

void session_worker_drop_addressed(struct session_worker *worker)
{
    struct list *at;

    while ((at = list_pop(&worker->addressed)) != NULL) {
        struct addressed_publish *addressed = container_of(at, struct addressed_publish, in_worker);
        command_free(&addressed->publish->command);
        free(addressed);
    }
}

/* --- by a key that a request brings ------------------------------------------------------------------------------- */

static bool is_named_key(struct span key)
{
    uint64_t ours;

    for (size_t i = 0; i < key.len; i++)
        if (key.at[i] <= ' ' || key.at[i] > '~')
            return false;
    return key.len <= CONNECTION_KEY_HEADER_BYTES_MAX && !connection_key_read(key, &ours);
}

bool conn_follow_read(struct subscribe_requests *requests, struct session_worker *worker,
                      const struct request_head *head, struct channel_name **ret)
{
    struct span header = span_str(worker->limits.connection_key_header);
    struct span key    = header.len == 0 ? SPAN("") : request_field(head, header);
    char        text[sizeof "conn:" + CONNECTION_KEY_HEADER_BYTES_MAX];

    *ret = NULL;
    if (key.len == 0)
        return true;
    if (!is_named_key(key))
        return subscribe_requests_fault(requests, 400, "%.*s: a connection's key is 1 to %d visible ASCII characters, and "
                                        "not 16 hexadecimal digits, as the server's own keys are", SPAN_ARG(header),
                                        CONNECTION_KEY_HEADER_BYTES_MAX);
    memcpy(text, "conn:", 5);
    memcpy(text + 5, key.at, key.len);
    must(channel_name_new(worker->namespaces, worker->hash_key, span_of(text, 5 + key.len), ret) == CHANNEL_NAME_OK);
    return true;
}
