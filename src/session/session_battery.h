/* session_battery.h - what this module's tests stand on: a worker on a simulated loop, turned by hand, whose clients
 * are the far ends of simulated links, and a few logs in the writer's place. */
#ifndef SESSION_SESSION_BATTERY_H
#define SESSION_SESSION_BATTERY_H

#include "base/rng.h"
#include "reactor/loop_sim.h"
#include "session/session.h"

enum { STAGE_LOGS_MAX = 64, STAGE_ROOM_BYTES = 4096 };

struct stage_log {
    struct channel_name *name;
    uint64_t             epoch, first, head;
    msec                 time;         /* of its messages; 1, unless the test says another */
    bool                 is_followed;
};

struct stage {
    struct namespaces  spaces;
    struct loop_sim    sim;
    struct http_server http;
    struct shard       shard;
    struct session_worker worker;
    struct rng         rng;
    struct stage_log   logs[STAGE_LOGS_MAX];
    size_t             log_count;
    struct mail        *oldest, **newest;  /* commands to the writer, not answered yet */
    uint64_t            hint_number;
    size_t             read_count;        /* READ commands among them */
    unsigned           patience;          /* one command in so many is answered in a turn; 1: all */
    bool               is_writer_stuck;   /* no command at all is answered */
    bool               is_writer_quick;   /* what a turn asks is answered before the turn draws, as by another core */
    bool               is_unreadable;     /* READ is answered, but the log can't be read */
    void              (*other)(struct stage *stage, struct command *command);  /* takes commands of kinds above node; NULL:
                                            * there are none */
    uint64_t           key;               /* the last that new_key gave */
    struct held_identifier *identifier;   /* of lib/held_identifier.h: answers at once unless it is told to be slow */
};

void stage_init(struct stage *stage, uint64_t seed);
void stage_fini(struct stage *stage);

/* A log that holds the messages first … head, each saying what stage_payload() does. */
struct stage_log *stage_log(struct stage *stage, const char *channel, uint64_t first, uint64_t head);
/* The next message of that log; those who follow get it in the coming turn. */
void stage_publish(struct stage *stage, struct stage_log *log);
/* "SEQ xxxx…", most of them short, some longer than any socket's buffer takes. */
void stage_payload(struct buf *buf, uint64_t seq);

/* One turn of the loop; commands from the turns before are answered first. */
void stage_turn(struct stage *stage);

/* So much time passes, and timers fire. No other time passes: turns take none. */
void stage_pass(struct stage *stage, msec ms);

/* A link: the client's end, and the worker's, to be started in the same turn. STAGE_ROOM_BYTES fit into it. */
struct sim_link *stage_stream(struct stage *stage, struct stream **ret);
/* A client of the HTTP server, whose requests go to session_serve_ws() and session_serve_subscribe(). */
struct sim_link *stage_connect(struct stage *stage);
/* The same over a wire of any kind. */
struct sim_link *stage_link(struct stage *stage, const struct sim_wire *wire);
/* Appends all there is to read. False: the other end has closed. */
bool stage_read(struct sim_link *far, struct buf *into);

#endif
