/* writer_thread.h - the thread of the writer: a loop without streams that carries commands between the workers' loops
 * and `struct writer` (node/writer.h).
 *
 *     workers ──mailbox──▶ writer ──one bundle a turn──▶ each worker's mailbox
 *     stores  ──mailbox──▶
 *
 * While the thread rests, others make a turn in its place (writer_lock.h): a loop, with commands that need no other thread; and on a node
 * alone the thread of the store that has made a small commit, so that what was committed goes to the loops without a wake between.
 *
 * open, connect every loop, start, stop, close, in this order. What is not said to be the writer's thread's is
 * main's thread's. */
#ifndef MAIN_WRITER_THREAD_H
#define MAIN_WRITER_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "device/devices.h"
#include "device/event_outbox.h"
#include "device/membership.h"
#include "device/occupancy.h"
#include "device/offline_task.h"
#include "device/presence.h"
#include "main/backend_host.h"
#include "main/snapshot.h"
#include "main/stores.h"
#include "main/uplink_host.h"
#include "main/writer_lock.h"
#include "node/head_ear.h"
#include "node/writer.h"
#include "reactor/loop.h"

struct cluster_host;
struct hand_over_gate;

struct writer_thread {
    struct writer   writer;
    struct head_ear ear;                   /* what others append to the durable store */
    struct memberships memberships;
    struct event_outbox events;            /* beside the writer, on its thread */
    struct devices  devices;               /* … */
    struct presence presence;              /* … */
    struct offline_tasks offline;          /* … */
    struct occupancies occupancies;        /* … */
    struct backend_host backends;
    struct uplink_host uplink;
    struct cluster_host *cluster;          /* borrowed; set before it starts */
    struct hand_over_gate *gate;           /* … */
    struct loop     loop;
    struct writer_lock lock;               /* whose turn it is */
    msec            turned_at, turned_wall; /* by the clocks of the last turn, whoever made it */
    struct timer    tick;
    struct mailbox *mailboxes[LOOPS_MAX];  /* of the workers' loops; borrowed */
    struct bundle   bundles[LOOPS_MAX];    /* what this turn sends to each of them */
    struct counter  adopted;               /* number of the configuration that the writer goes by */
    atomic_bool     is_stopping;           /* set once nobody sends any more */
    bool            is_last_mail;          /* it was set before this turn took its mail: no more will come */
    struct counter  wants_lean;            /* 1: memory is short (memory_control.h) */
    struct counter  ticked_at;             /* monotonic; any thread may look */
    bool            is_lean;               /* as the writer was told last */
    bool            is_last_word_taken;    /* another process takes the place of this one: what the loops said before they stood still is here */
    pthread_t       thread;
    bool            is_started;
};

/* The stores and `fetch` are borrowed until close. Not RC_OK: `why` is a sentence for the operator. */
enum rc writer_thread_open(struct writer_thread *thread, const struct snapshot *snapshot, const struct stores *stores,
                           struct namespaces *namespaces, const struct hash_key *hash_key, uint64_t incarnation, struct fetch *fetch,
                           unsigned loop_count, char *why, size_t why_size) RC_MUST_USE;

/* Where commands for this loop go. Borrowed until close. */
void writer_thread_connect(struct writer_thread *thread, unsigned loop, struct mailbox *mailbox);

enum rc writer_thread_start(struct writer_thread *thread) RC_MUST_USE;

/* No loop sends anything any more. Returns when the writer has finished what waits in it; nothing if not started. */
void writer_thread_stop(struct writer_thread *thread);

/* The thread has ended and the durable store is closed: its threads send to this mailbox. A zeroed thread is fine. */
void writer_thread_close(struct writer_thread *thread);

/* Sends commands to the writer and empties the bundle. A loop's thread. True: they were carried out, and what the loop gets of them is
 * in its mailbox. */
bool writer_thread_send(struct writer_thread *thread, struct bundle *bundle, msec now, msec wall);

/* A thread of the cluster's engine: carry_out() is called in a turn of the writer, here and now. False: the writer does not rest, does not
 * run, stops or stands still, and nothing was done. */
bool writer_thread_visit(struct writer_thread *thread, void (*carry_out)(void *ctx), void *ctx);

#endif
