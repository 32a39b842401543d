/* client_digest.c - a ping compares the places of the client with what was written to its link.
 *
 * The stream keeps the order. So when a client has a pong, it has all that was written before the pong, and nothing else:
 * what the pong says is compared there, and what was on its way when the ping was sent makes no difference. */
#include "message/place_digest.h"
#include "session/client.h"

enum { PLACES_TOLD_MAX = 16384 };  /* in one pong: 8.5 MiB at most */

/* Is every place of this link one that its client knows? A channel that has not answered yet, or has a gap to tell first,
 * says so soon. Of a group that its user has left or been away from, the server steps over seqs in silence. In mode notify
 * a channel stands where the client was told, which is no place of the client's. */
static bool link_is_settled(const struct link *link)
{
    if (link_reader(link)->unplaced_count > 0)
        return false;
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        if (!sub->sub.is_unasked && (!subscription_is_settled(&sub->sub) || (sub->sub.is_own && sub->sub.is_bounded) ||
                                     sub->sub.is_notify))
            return false;
    return true;
}

static uint64_t digest_of(const struct place *places, size_t count)
{
    uint64_t digest = 0;

    for (size_t i = 0; i < count; i++)
        digest += place_digest_term(places[i].channel, places[i].epoch, places[i].seq);
    return digest;
}

void client_answer_ping(struct client *client, const struct client_command *command)
{
    const struct client_ping *ping     = &command->ping;
    struct session_counters  *counters = &client->link.worker->counters;
    struct client_event       pong     = { .kind = EVENT_PONG, .ref = command->ref };
    struct place             *places;

    bool                      asks     = ping->has_digest || ping->wants_places;

    /* A native link counts all its pings. */
    if (asks && client->link.transport == TRANSPORT_WS && !client_count_idle_frame(client))
        return;
    if (asks && link_is_settled(&client->link)) {
        size_t count         = link_places(&client->link, true, &places);
        pong.pong.digest     = digest_of(places, count);
        pong.pong.has_digest = ping->has_digest && pong.pong.digest != ping->digest;
        pong.pong.has_places = ping->wants_places && count <= PLACES_TOLD_MAX;
        if (pong.pong.has_places) {
            pong.pong.places      = places;
            pong.pong.place_count = count;
        }
        counter_add(&counters->digests_differed, pong.pong.has_digest);
        counter_add(&counters->places_told, pong.pong.has_places);
    }
    client_say(client, &pong);
}
