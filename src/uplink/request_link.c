/* request_link.c - the answers that a link without a device has had. There are no rows of its requests, so that its ids are known by these:
 * the newest LINK_ANSWERS_MAX of each link, as long as the link asks now and then, and as many as LINK_BYTES_MAX holds of all links. */
#include <stdlib.h>

#include "base/must.h"
#include "uplink/requests_priv.h"

enum { LINK_ANSWERS_MAX = 16, LINK_BYTES_MAX = 32 * 1024 * 1024, LINKS_IDLE_MAX = 10000, LINK_KEPT_MS = 300000 };

struct link_answer {
    struct list     link;     /* in its device's answers, the oldest first */
    msec            since;
    struct message *message;  /* owns a reference */
    uint8_t         hash[16];
    size_t          id_len;
    char            id[];
};

static struct link_answer *link_answer_of(struct list *link)
{
    return container_of(link, struct link_answer, link);
}

static size_t link_answer_bytes(const struct link_answer *answer)
{
    return sizeof *answer + sizeof *answer->message + answer->id_len + message_payload(answer->message).len;
}

static void link_answer_forget(struct request_device *device, struct link_answer *answer)
{
    device->requests->link_bytes -= link_answer_bytes(answer);
    device->answer_count--;
    list_take(&answer->link);
    message_unref(answer->message);
    free(answer);
}

void request_link_forget_all(struct request_device *device)
{
    while (!list_is_empty(&device->answers))
        link_answer_forget(device, link_answer_of(device->answers.next));
}

static struct request_device *oldest_idle(const struct requests *requests)
{
    return container_of(requests->idle_links.next, struct request_device, link);
}

/* Room for this one: of links that rest first, then of this link. False: it is too large. */
static bool link_make_room(struct request_device *device, size_t bytes)
{
    struct requests *requests = device->requests;

    while (requests->link_bytes + bytes > LINK_BYTES_MAX && !list_is_empty(&requests->idle_links))
        request_device_forget(oldest_idle(requests));
    while (!list_is_empty(&device->answers) &&
           (device->answer_count >= LINK_ANSWERS_MAX || requests->link_bytes + bytes > LINK_BYTES_MAX))
        link_answer_forget(device, link_answer_of(device->answers.next));
    return requests->link_bytes + bytes <= LINK_BYTES_MAX;
}

void request_link_note(const struct request_work *work, struct message *message)
{
    struct request_device *device = work->device;
    struct link_answer    *answer = malloc(sizeof *answer + work->id.len);

    must(answer != NULL && !work_has_rows(work));
    *answer = (struct link_answer){ .since = device->requests->now, .message = message_ref(message), .id_len = work->id.len };
    memcpy(answer->hash, work->hash, sizeof answer->hash);
    memcpy(answer->id, work->id.at, work->id.len);
    const bool has_room = link_make_room(device, link_answer_bytes(answer));
    device->requests->link_bytes += link_answer_bytes(answer);
    device->answer_count++;
    list_push(&device->answers, &answer->link);
    if (!has_room)
        link_answer_forget(device, answer);
}

bool request_link_replay(struct requests *requests, struct request_command *command, struct span name)
{
    struct request_device *device = request_device_find(requests, name);
    const msec             oldest = requests->now - requests->limits.keep_ms;

    if (device == NULL)
        return false;
    for (struct list *at = device->answers.next; at != &device->answers; at = at->next) {
        const struct link_answer *answer = link_answer_of(at);
        if (answer->since < oldest || !span_eq(span_of(answer->id, answer->id_len), command->id))
            continue;
        const bool is_same = memcmp(answer->hash, command->hash, sizeof answer->hash) == 0;
        if (is_same)
            command->answer = message_ref(answer->message);
        request_tell(requests, command, is_same ? REQUEST_REPLAYED : REQUEST_CONFLICT);
        return true;
    }
    return false;
}

void request_link_rest(struct request_device *device)
{
    struct requests *requests = device->requests;

    device->rests_since = requests->now;
    list_push(&requests->idle_links, &device->link);
    if (++requests->idle_link_count > LINKS_IDLE_MAX)
        request_device_forget(oldest_idle(requests));
}

void request_links_tick(struct requests *requests)
{
    while (!list_is_empty(&requests->idle_links) && oldest_idle(requests)->rests_since + LINK_KEPT_MS <= requests->now)
        request_device_forget(oldest_idle(requests));
}
