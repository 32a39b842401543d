/* redis_engine_priv.h - the engine on Redis from within.
 *
 *     submit() ── submitted (lock) ──> the thread ── a task, its commands ──> lines ── answers ──> done()
 *
 *     redis_engine.c   lines, life, sweeps, open and close        redis_calls.c   what each kind of call sends, and its answers
 *
 * All but what stands behind "under thread.lock", and the counters, belongs to the thread. */
#ifndef CLUSTER_REDIS_ENGINE_PRIV_H
#define CLUSTER_REDIS_ENGINE_PRIV_H

#include "base/counter.h"
#include "cluster/redis_engine.h"
#include "message/slot.h"
#include "store/redis_line.h"

enum {
    SUSPECTS = 256, SHA_BYTES = 40, RUN_ID_BYTES = 64, KEY_BYTES = ROUTE_NAME_BYTES_MAX + 16,
    MEMBER_BYTES = NODE_RECORD_NAME_MAX + 40, HEX_DIGITS = 16,
    ORDER_BYTES = 37,  /* STARTED INCARNATION, of a fixed width, so that the newer one of two is the larger text */
};

enum redis_script { SCRIPT_LEASE, SCRIPT_LEAVE, SCRIPT_NODES, SCRIPT_COUNT };

extern const char *const redis_script_texts[SCRIPT_COUNT];

struct engine_task;

/* One command of a call. */
struct engine_part {
    struct engine_task *task;
    size_t              at;  /* of call->names */
};

/* A call under way. */
struct engine_task {
    struct list          link;  /* in tasks[kind], in the order of submission */
    struct redis_engine *engine;
    struct engine_call  *call;
    size_t               unanswered;
    size_t               id_cap;
    enum rc              rc;
    bool                 is_sent;  /* all of its commands */
    struct redis_said    said;     /* SEND */
    struct engine_part   parts[];
};

/* A follower of a route whose lease does not run, as far as is known. */
struct route_suspect {
    char   member[MEMBER_BYTES];
    char   route[ROUTE_NAME_BYTES_MAX];
    size_t route_len;
    msec   since;
};

/* A follower that is live: member_put() of it. */
struct live_member {
    char text[MEMBER_BYTES];
};

/* What is known of one Redis. */
struct redis_instance {
    uint64_t word;  /* 0: not read yet */
    uint64_t words_away;  /* questions for it in beats that are not answered */
    uint64_t sure_round;  /* the last one in which it was still the word of the life that was told */
    char     run_id[RUN_ID_BYTES];
    char     shas[SCRIPT_COUNT][SHA_BYTES + 1];
};

struct redis_engine {
    struct engine               engine;
    struct redis_thread         thread;
    struct node_id              self;
    const struct engine_events *events;
    void                       *ctx;
    struct redis_line          *bus;             /* subscribed */
    size_t                      instance_count;  /* lines 0 to count - 1 are theirs */
    struct redis_instance       instances[REDIS_INSTANCES];
    struct list                 tasks[ENGINE_SEND + 1];
    msec                        beat_due, sweep_ms, answer_ms;
    uint32_t                    round;           /* of the lease: stands in the members */
    uint64_t                    beat_round;      /* of looking at the life (engine.h) */
    bool                        has_lease;
    bool                        is_up, is_known_down, is_silent;
    uint64_t                    life;            /* as it was told */
    struct live_member         *live;            /* as NODES told last; sorted */
    size_t                      live_count;
    bool                        has_live;
    struct route_suspect       *suspects;
    size_t                      suspect_count;
    struct counter              call_count, failure_count, frames_sent, frames_received;
    /* under thread.lock */
    struct list                 submitted;
    size_t                      waiting_count, waiting_bytes;
    bool                        is_up_told;
    char                        failure[REDIS_WHY_BYTES];
};

/* --- redis_calls.c --- */
/* Sends the commands of a call, or completes it. */
void redis_call_start(struct redis_engine *engine, struct engine_call *call);
void redis_call_done(struct redis_engine *engine, struct engine_call *call, enum rc rc);
struct span redis_bus_name(uint64_t incarnation, char text[KEY_BYTES]);
struct redis_line *redis_line_of_route(struct redis_engine *engine, struct span route);

/* --- redis_engine.c --- */
void redis_engine_note(struct redis_engine *engine, const char *why);
/* Reads the word of each Redis that has a connection. */
void redis_engine_beat(struct redis_engine *engine);
/* `up`, if all lines stand and the life is another one than was told. */
void redis_engine_tell_life(struct redis_engine *engine);
/* Of a route that was looked up. */
void redis_suspect(struct redis_engine *engine, struct span route, struct span member);
/* Another list of live members came: takes it. */
void redis_take_live(struct redis_engine *engine, struct live_member *live, size_t count);

#endif
