/* head_ear.h - what a store hears of other writers (store_ear in store/store.h), on its way to the writer. Any thread
 * of the store speaks into it; the writer takes it out in its turns.
 *
 * Bounds. HEAD_EAR_MAX heads may wait. What comes beyond is dropped, and the writer compares all heads instead. */
#ifndef NODE_HEAD_EAR_H
#define NODE_HEAD_EAR_H

#include <stdatomic.h>

#include "node/writer.h"

enum { HEAD_EAR_MAX = 65536 };

struct head_ear {
    struct writer   *writer;
    _Atomic uint32_t waiting_count;
    _Atomic bool     has_missed;  /* MISSED is on its way, and need not be sent twice */
};

/* Begins to listen, if the writer's durable store can tell what others append. `ear` lives as long as the store. */
void head_ear_begin(struct head_ear *ear, struct writer *writer);

#endif
