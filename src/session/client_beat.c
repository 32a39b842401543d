/* client_beat.c - heartbeats of a client's link: what is agreed, what a beat does, and what happens in silence. The policy
 * is heartbeat.c's. */
#include "reactor/log.h"
#include "session/client.h"

static const struct heartbeat_limits *beat_limits(const struct client *client)
{
    return &client->link.worker->limits.heartbeat;
}

void client_look_by(struct client *client, msec at)
{
    if (heartbeat_is_of_client(&client->heartbeat) && !client->link.is_over && client->timer.at > at)
        wheel_arm(&client->link.worker->loop->wheel, &client->timer, at);
}

/* The keys of links spread the looks, so that not all come back at once. */
void client_unwelcome(struct link *link)
{
    struct client *client = container_of(link, struct client, link);

    client_look_by(client, link->worker->loop->now + (msec)(link->key % (uint64_t)beat_limits(client)->asked_ms));
}

/* The end of a frame that has begun is due. If that is over, it is the server that has not read it. */
static void client_watch_gathered(const struct client *client, msec now, msec *ret_next)
{
    const struct client_work *work = client->work;

    if (work == NULL || work->in.len == 0)
        return;
    msec due = work->in_since + client->link.worker->limits.gather_timeout_ms;
    if (due <= now)
        due = now + beat_limits(client)->asked_ms;
    if (*ret_next > due)
        *ret_next = due;
}

void client_await_beat(struct client *client)
{
    struct loop *loop = client->link.worker->loop;
    msec         at   = heartbeat_due(&client->heartbeat, beat_limits(client), loop->now);

    if (client->link.is_over)
        return;
    client_watch_gathered(client, loop->now, &at);
    wheel_arm(&loop->wheel, &client->timer, at);
    if (client->link.holder != NULL && identity_is_revoked(client->link.holder))
        client_unwelcome(&client->link);
}

static uint32_t network_of(const struct stream *stream)
{
    struct ip_address address;

    return stream_peer(stream, &address) ? network_key(address.bytes, sizeof address.bytes) : 0;
}

void client_agree_heartbeat(struct client *client, msec offer_ms)
{
    struct session_worker *worker = client->link.worker;

    if (client->network == 0)
        client->network = network_of(link_stream(&client->link));
    heartbeat_agree(&client->heartbeat, beat_limits(client), offer_ms, networks_bear(&worker->networks, client->network));
    client_await_beat(client);
}

void client_heard(struct client *client)
{
    struct link *link   = &client->link;
    msec         now    = link->worker->loop->now;
    msec         silent = heartbeat_heard(&client->heartbeat, now);

    if (!link->has_delivered && silent > 1000)
        networks_borne(&link->worker->networks, client->network, silent, beat_limits(client)->offered_ms, now);
    link->has_delivered = false;
    if (link->is_quiet)
        presence_follow_wake(link);
}

void client_beat(struct client *client, msec next_ms)
{
    const msec before = heartbeat_interval(&client->heartbeat, beat_limits(client));

    counter_add(&client->link.worker->counters.beats, 1);
    heartbeat_beat(&client->heartbeat, beat_limits(client), next_ms);
    /* The timer fires at the old time at the latest, so only a shorter promise moves it. */
    if (heartbeat_interval(&client->heartbeat, beat_limits(client)) < before)
        client_await_beat(client);
    link_look_again(&client->link);
}

/* --- silence -------------------------------------------------------------------------------------------------- */

static void client_drop_silent(struct client *client)
{
    struct link           *link   = &client->link;
    struct session_worker *worker = link->worker;

    /* A young link is given up after several beats. The network may have forgotten it in the first of them. */
    if (heartbeat_is_of_client(&client->heartbeat))
        networks_lost(&worker->networks, client->network, heartbeat_interval(&client->heartbeat, beat_limits(client)),
                      beat_limits(client)->least_ms, worker->loop->now);
    link_note_gone(link, LINK_GONE_SILENT);
    stream_forget(link_stream(link));
    counter_add(&worker->counters.dropped_silent, 1);
    LOG(LOG_DEBUG, "silent_client_closed", log_str("transport", transport_text((enum transport)link->transport)));
}

static void client_drop_slow(struct client *client)
{
    link_note_gone(&client->link, LINK_GONE_SLOW);
    stream_forget(link_stream(&client->link));
    counter_add(&client->link.worker->counters.dropped_slow, 1);
    LOG(LOG_INFO, "slow_reader_closed",
        log_str("transport", transport_text((enum transport)client->link.transport)));
}

/* While bytes wait for the stream the pong timer rests. A dead link is then found because the peer's kernel
 * acknowledges nothing (stream_is_dead()). */
static bool client_is_cut_off(const struct client *client)
{
    const struct link             *link   = &client->link;
    const struct heartbeat_limits *limits = beat_limits(client);

    return link_waiting_bytes(link) > 0 && stream_is_dead(link_stream(link), limits->asked_ms + limits->pong_timeout_ms);
}

/* The kernel may hold megabytes in front of the question, and a slow network takes them minute by minute: as long as the peer's
 * kernel acknowledges some, the client has not been asked. Who never answers has as long as who never reads. */
static bool client_has_not_been_asked(const struct client *client, msec now)
{
    const struct session_limits *limits = &client->link.worker->limits;
    const struct stream         *stream = link_stream(&client->link);

    return heartbeat_silence(&client->heartbeat, now) < limits->slow_reader_timeout_ms && stream_unacked_bytes(stream) > 0 &&
           !stream_is_dead(stream, limits->heartbeat.pong_timeout_ms);
}

/* A link of which nothing was heard for the lease may be there still, but its device does not count as present. */
static void client_watch_presence_lease(struct client *client, msec now, msec *ret_next)
{
    const struct session_limits *limits = &client->link.worker->limits;
    msec lease  = heartbeat_lease(&client->heartbeat, &limits->heartbeat, limits->presence_lease_ms);
    msec silent = heartbeat_silence(&client->heartbeat, now);

    if (client->link.worker->presence.follows.count == 0)
        return;
    if (silent >= lease)
        presence_follow_rest(&client->link);
    else if (*ret_next > now + lease - silent)
        *ret_next = now + lease - silent;
}

bool client_watch(struct client *client, msec now, msec *ret_next)
{
    struct link *link = &client->link;

    if (link_is_stuck(link, now)) {
        client_drop_slow(client);
        return false;
    }
    if (link->is_resting || stream_is_held_back(link_stream(link)))
        heartbeat_heard(&client->heartbeat, now);  /* the server does not read from this client, so it can't see an answer */
    switch (heartbeat_judge(&client->heartbeat, beat_limits(client), link_waiting_bytes(link) > 0, now, ret_next)) {
    case HEARTBEAT_FINE:
        if (!client_is_cut_off(client))
            break;
        client_drop_silent(client);
        return false;
    case HEARTBEAT_ASK:
        client_kind(client)->ask(client);
        link_mark(link);
        break;
    case HEARTBEAT_SILENT:
        if (!client_has_not_been_asked(client, now)) {
            client_drop_silent(client);
            return false;
        }
        heartbeat_put_off(&client->heartbeat, now);
        *ret_next = now + beat_limits(client)->pong_timeout_ms;
        break;
    }
    client_watch_presence_lease(client, now, ret_next);
    client_watch_gathered(client, now, ret_next);
    link_look_again(link);
    return true;
}
