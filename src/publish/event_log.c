#include "publish/event_log.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

struct event_waiting {
    struct list     in_lane;
    enum event_kind kind;
    msec            time;
    uint32_t        len;
    char            text[];
};

/* --- its way to the log ------------------------------------------------------------------------------------------ */

static void event_lane_drop_first(struct event_log *log, struct event_lane *lane)
{
    free(container_of(list_pop(&lane->waiting), struct event_waiting, in_lane));
    counter_sub(&log->waiting, 1);
}

static void event_lane_send(struct event_log *log, struct event_lane *lane);

static void event_answered(struct publish_command *command)
{
    struct event_log  *log   = command->owner;
    struct event_lane *lane  = log->lanes;
    bool               is_done = command->outcome == PUBLISH_DONE;

    while (lane->channel != command->append.message->channel)
        lane++;
    command_free(&command->command);
    lane->is_away    = false;
    lane->is_refused = !is_done;
    if (!is_done) {
        counter_add(&log->refused, 1);
        return;
    }
    counter_add(&log->written, 1);
    event_lane_drop_first(log, lane);
    event_lane_send(log, lane);
}

/* Each try is a message of its own: one that was refused late may still be held by the store. */
static void event_lane_send(struct event_log *log, struct event_lane *lane)
{
    if (lane->is_away || lane->is_refused || list_is_empty(&lane->waiting))
        return;
    const struct event_waiting *first = container_of(lane->waiting.next, struct event_waiting, in_lane);
    struct message *message = message_new_event(lane->channel, MESSAGE_PLAIN, first->text, first->len, SPAN("application/json"),
                                                SPAN(""), span_str(event_kind_name(first->kind)));
    message->time           = first->time;
    struct publish_command *command = publish_command_new(&message, SPAN(""), SPAN(""));
    command->owner    = log;
    command->answered = event_answered;
    lane->is_away     = true;
    shard_publish(log->shard, command);
}

static void event_lane_add(struct event_log *log, struct event_lane *lane, enum event_kind kind, struct span text)
{
    struct event_waiting *waiting = malloc(sizeof *waiting + text.len);

    must(waiting != NULL);
    *waiting = (struct event_waiting){ .kind = kind, .time = log->shard->wall, .len = (uint32_t)text.len };
    memcpy(waiting->text, text.at, text.len);
    list_init(&waiting->in_lane);
    list_push(&lane->waiting, &waiting->in_lane);
    counter_add(&log->waiting, 1);
    event_lane_send(log, lane);
}

void event_log_note(struct event_log *log, const struct event_facts *facts)
{
    struct buf text;

    if (!event_log_wants(log, facts->kind))
        return;
    if (counter_get(&log->waiting) >= EVENTS_WAITING_MAX) {
        counter_add(&log->lost, 1);
        return;
    }
    buf_init(&text, EVENT_TEXT_BYTES);
    event_facts_put(&text, facts, log->shard->wall);
    must(!buf_is_over(&text));
    event_lane_add(log, &log->lanes[event_facts_log(facts)], facts->kind, buf_span(&text));
    buf_fini(&text);
}

void event_log_tick(struct event_log *log)
{
    for (size_t i = 0; i < EVENT_LOGS; i++) {
        log->lanes[i].is_refused = false;
        event_lane_send(log, &log->lanes[i]);
    }
}

/* --- its life ---------------------------------------------------------------------------------------------------- */

void event_log_init(struct event_log *log, struct shard *shard, struct namespaces *namespaces, const struct hash_key *hash_key)
{
    *log = (struct event_log){ .shard = shard };
    for (size_t i = 0; i < EVENT_LOGS; i++) {
        char text[OWN_POLICY_TEXT];
        int  len = snprintf(text, sizeof text, "sys:events/%zu", i);
        must(channel_name_new(namespaces, hash_key, span_of(text, (size_t)len), &log->lanes[i].channel) == CHANNEL_NAME_OK);
        list_init(&log->lanes[i].waiting);
    }
}

void event_log_fini(struct event_log *log)
{
    for (size_t i = 0; i < EVENT_LOGS && log->shard != NULL; i++) {
        struct event_lane *lane = &log->lanes[i];
        while (!list_is_empty(&lane->waiting)) {
            event_lane_drop_first(log, lane);
            counter_add(&log->lost, 1);
        }
        channel_name_unref(lane->channel);
    }
    log->shard = NULL;
}
