/* client.h - what stands behind `struct lw`: the engine, the inbox, and the link that carries them. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "engine.h"
#include "resolve.h"
#include "wire.h"

struct lw {
    struct inbox      inbox;
    struct engine     engine;
    struct wire       wire;
    struct resolving *resolving;   /* NULL: none under way */
    uint64_t          link_count;  /* of the engine's links: the one that is open, or being opened */
    SSL_CTX          *tls;         /* NULL: no server needs it */
    int               epoll_fd;    /* inbox, resolving, socket */
    unsigned          serial;      /* of the socket that is watched */
    uint32_t          events;      /* … and for what */
    bool              has_more;    /* lw_process() has left something to do */
    uint64_t          key_prefix;  /* of idempotency keys */

    pthread_mutex_t   thread_mutex;
    pthread_t         thread;
    bool              has_thread;
    bool              must_end;    /* the thread is to leave at once */
};

/* --- client_link.c --- */
/* Carries the link on: opens, reads, writes, closes. True: something has happened, and more may be possible. */
bool client_drive(struct lw *lw, msec now);
/* Sees to it that the epoll waits for what is needed. */
void client_watch(struct lw *lw);
void client_drop_link(struct lw *lw);

msec client_now(void);

#endif
