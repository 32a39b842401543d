/* offline_task.h - for which devices is nobody there? The events `offline` of a message.
 *
 * A message for `user:U`, `device:U/D` or `group:G` carries a row (event_row.h), in its own commit. After that it is found out,
 * step by step, which of the addressed devices have no link: the sessions of the user, or of each member of the group, are
 * read from the ledger.
 *
 *     publish + row ──commit──▶ task: [a page of members] ──▶ sessions of up to four users ──▶ events ──▶ … ──▶ row deleted
 *
 * A device is there while a link of its session is open, or its next poll is awaited. Other nodes' links are those that the rows
 * of sessions name, if that node lives. A user without any session has one event without a device, unless somebody follows
 * the channel `user:U` by a plain link.
 *
 * Of a group, OFFLINE_MEMBERS_MAX members are looked at; then one event without a user says that there are more. So many tasks are
 * under way at a time, others wait, and beyond OFFLINE_WAITING_MAX they stay in the ledger, where the sweep finds them.
 *
 * Control messages and recalls make no events. It is owned beside the writer and runs on its thread. Pure. */
#ifndef DEVICE_OFFLINE_TASK_H
#define DEVICE_OFFLINE_TASK_H

#include "device/devices.h"
#include "device/event_outbox.h"

enum {
    OFFLINE_MEMBERS_MAX = 10000,  /* of a group, that are looked at for one message */
    OFFLINE_WAITING_MAX = 4096,  /* messages whose devices are yet to be looked at */
    OFFLINE_AWAY_MAX    = 32,     /* … and those that are under way */
};

struct offline_tasks {
    struct devices      *devices;    /* borrowed, as the outbox */
    struct event_outbox *outbox;
    /* Does the node live that the row names, in the same start? It is another one than this. NULL: there are none. */
    bool               (*lives)(void *ctx, const struct session_row *row);
    void                *ctx;
    uint32_t             members_max;
    struct list          line;       /* to begin, or to go on with, in this turn or a later one */
    struct counter       waiting;    /* … how many */
    uint32_t             away_count;
    uint32_t             ask_count;  /* questions to other nodes under way */
    uint32_t             pause_ticks;  /* the ledger could not be read */
    struct counter       looked, beyond;  /* users that were looked at; messages with more members than that */
};

void offline_tasks_init(struct offline_tasks *tasks, struct devices *devices, struct event_outbox *outbox);
/* Nothing is under way. */
void offline_tasks_fini(struct offline_tasks *tasks);

/* The kinds of the outbox have changed: publishes are watched only while somebody asks for `offline`. */
void offline_tasks_adopt(struct offline_tasks *tasks);

/* After the commands of a turn, before devices_turn_end(). */
void offline_tasks_turn(struct offline_tasks *tasks);
/* About ten times a second. */
void offline_tasks_tick(struct offline_tasks *tasks);

/* Nothing is under way, and nothing waits that could be looked at. */
bool offline_tasks_are_idle(const struct offline_tasks *tasks);

#endif
