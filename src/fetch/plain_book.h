/* plain_book.h - what the parts of the module know together of the servers that our own client speaks to: how many connections are open
 * to each, which of them are idle, and the address that a name had last. Any thread.
 *
 * An asker may bound the connections to a server (call->connections_max). A part that needs a new one, where others hold idle ones up
 * to that bound, ends the one that is unused for longest, whosever it is. */
#ifndef FETCH_PLAIN_BOOK_H
#define FETCH_PLAIN_BOOK_H

#include <pthread.h>

#include "base/list.h"
#include "base/msec.h"
#include "base/span.h"

struct plain_conn;
struct plain_server;

enum { PLAIN_ADDRESS_BYTES = 46 };

struct plain_book {
    pthread_mutex_t lock;
    struct list     servers;
    uint32_t        server_count;
};

void plain_book_init(struct plain_book *book);
void plain_book_fini(struct plain_book *book);  /* no connection is left */

/* The server is kept as long as somebody holds it. */
struct plain_server *plain_book_get(struct plain_book *book, struct span authority);
void                 plain_book_put(struct plain_book *book, struct plain_server *server);

/* The digits of the address that a name had last; empty: nobody has answered. */
void plain_book_note(struct plain_book *book, struct plain_server *server, struct span digits, msec until);
/* False: it is not known by `now`. */
bool plain_book_look(struct plain_book *book, struct plain_server *server, msec now, char ret_digits[PLAIN_ADDRESS_BYTES], msec *ret_until);

/* A connection is about to be made. `most`: so many to this server, 0: any number; then an idle one is ended first. */
void plain_book_add(struct plain_book *book, struct plain_server *server, uint32_t most);
void plain_book_sub(struct plain_book *book, struct plain_server *server);  /* it could not be made */
void plain_book_take(struct plain_book *book, struct plain_conn *conn);  /* it is closed */
void plain_book_rest(struct plain_book *book, struct plain_conn *conn);  /* it is idle */
/* It is used again. False: it has been ended meanwhile. */
bool plain_book_use(struct plain_book *book, struct plain_conn *conn);

#endif
