/* loop_sim.h - a loop without a kernel: a test or the simulator turns it by hand and owns its clock. Its streams are
 * the near ends of simulated links; the far ends are the test's. Nothing here is random unless a rng is handed in, so
 * the same calls give the same run.
 *
 *     loop_sim_init(&sim, &hooks, ctx, 1000, 1700000000000);
 *     far = sim_link_new(&sim, &(struct sim_wire){ .room_bytes = 4096 }, &stream);
 *     http_server_open(&server, stream);
 *     sim_send(far, SPAN("GET / HTTP/1.1\r\n…"));
 *     do
 *         loop_sim_turn(&sim, now);
 *     while (!loop_sim_is_quiet(&sim));
 *     sim_take(far, &got, SIZE_MAX); */
#ifndef REACTOR_LOOP_SIM_H
#define REACTOR_LOOP_SIM_H

#include "base/buf.h"
#include "base/rng.h"
#include "reactor/loop.h"

struct loop_sim {
    struct loop         loop;
    struct stream_maker plain, layered;
    struct list         links;        /* in the order in which they were made */
    msec                wall_offset;  /* wall - now */
};

void loop_sim_init(struct loop_sim *sim, const struct loop_hooks *hooks, void *ctx, msec now, msec wall);
void loop_sim_fini(struct loop_sim *sim);  /* all streams are closed, all far ends freed */

/* One turn at this time, which never goes back. */
void loop_sim_turn(struct loop_sim *sim, msec now);
/* Has one more turn at the same time nothing to do, timers and mail aside? */
bool loop_sim_is_quiet(const struct loop_sim *sim);
/* The time of the next work: now, an arrival, a timer. -1: there is none. The time may be earlier than a timer is
 * due. */
msec loop_sim_next(const struct loop_sim *sim);

/* How a link behaves. May be changed at any time. */
struct sim_wire {
    size_t      room_bytes;       /* sent, and not taken by the far end; beyond it a write is short */
    size_t      write_bytes_max;  /* one write takes no more; 0: any number */
    size_t      read_bytes_max;   /* one read gives no more; only of a layered wire. 0: any number */
    struct rng *rng;              /* NULL, or: each write (each read of a layered wire) moves a random part */
    msec        delay_ms;         /* each way */
    uint64_t    cut_in_at;        /* the link breaks when the near end has read so many bytes; 0: never */
    uint64_t    cut_out_at;       /* … or has written so many */
    bool        is_layered;       /* as with TLS: a short read says nothing, and bytes written beyond the room are held
                                   * inside, up to a record. Fixed when the link is made */
    bool        is_dead;          /* the far kernel has fallen silent: see stream_is_dead() */
};

struct sim_link;

enum sim_end { SIM_OPEN, SIM_ENDED, SIM_RESET };

/* The far end for the caller, the near end in *ret, to be started in the same turn. */
struct sim_link *sim_link_new(struct loop_sim *sim, const struct sim_wire *wire, struct stream **ret);
/* The far end hangs up: what it has sent arrives, then the end. The link may not be used any more. */
void sim_link_free(struct sim_link *link);
/* What is left on links whose far end is freed is read and written at full speed from now on. */
void loop_sim_hurry(struct loop_sim *sim);

struct sim_wire *sim_link_wire(struct sim_link *link);

/* The far end speaks. */
void sim_send(struct sim_link *link, struct span bytes);
size_t sim_unread(const struct sim_link *link);  /* bytes that it has sent and the near end has not read */
void sim_send_end(struct sim_link *link);  /* it sends nothing more, but still reads */
/* The link breaks: nothing more passes in either direction, what has not arrived is lost. */
void sim_reset(struct sim_link *link);

/* The far end reads what has arrived, at most `bytes_max`; appends. Returns how much. */
size_t sim_take(struct sim_link *link, struct buf *into, size_t bytes_max);
/* What follows the bytes that were taken. */
enum sim_end sim_link_end(const struct sim_link *link);
/* Is the near end closed? */
bool sim_link_is_closed(const struct sim_link *link);

#endif
