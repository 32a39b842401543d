/* worker_hand_over.h - one loop's part when another process takes the server's place (docs/decisions/0124). */
#ifndef MAIN_WORKER_HAND_OVER_H
#define MAIN_WORKER_HAND_OVER_H

#include "base/buf.h"
#include "base/rc.h"

struct worker;

/* What moves from a loop: records (codec/handover), and the sockets that belong to them, in their order. */
struct moving {
    struct buf records;
    int       *sockets;
    size_t     count, cap;
    bool       is_settled;  /* nothing is under way */
    bool       is_told;     /* it has moved, or is about to */
};

/* The new process, before the worker starts: goes on with what moved. Takes the sockets. Returns how many of them could not be gone on
 * with. */
size_t worker_take_over(struct worker *worker, struct span records, const int *sockets, size_t count);

/* The old process, when the worker has ended or will never go on. */
void worker_forget_moving(struct worker *worker);

#endif
