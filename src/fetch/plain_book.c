#include "fetch/plain_book.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

struct plain_server {
    struct list link;      /* in book->servers */
    uint32_t    holders;
    uint32_t    conn_count;
    struct list idle;      /* connections, the one unused for longest first */
    char        digits[PLAIN_ADDRESS_BYTES];
    msec        until;
    size_t      name_len;
    char        name[PLAIN_AUTHORITY_BYTES_MAX];
};

void plain_book_init(struct plain_book *book)
{
    *book = (struct plain_book){ 0 };
    list_init(&book->servers);
    must(pthread_mutex_init(&book->lock, NULL) == 0);
}

void plain_book_fini(struct plain_book *book)
{
    must(list_is_empty(&book->servers));
    must(pthread_mutex_destroy(&book->lock) == 0);
}

static void book_lock(struct plain_book *book)
{
    must(pthread_mutex_lock(&book->lock) == 0);
}

static void book_unlock(struct plain_book *book)
{
    must(pthread_mutex_unlock(&book->lock) == 0);
}

/* --- servers ------------------------------------------------------------------------------------------------------- */

static struct plain_server *server_find(const struct plain_book *book, struct span authority)
{
    for (struct list *at = book->servers.next; at != &book->servers; at = at->next) {
        struct plain_server *server = container_of(at, struct plain_server, link);
        if (span_eq(span_of(server->name, server->name_len), authority))
            return server;
    }
    return NULL;
}

static struct plain_server *server_new(struct plain_book *book, struct span authority)
{
    struct plain_server *server = calloc(1, sizeof *server);

    must(server != NULL && authority.len <= sizeof server->name);
    memcpy(server->name, authority.at, authority.len);
    server->name_len = authority.len;
    list_init(&server->idle);
    list_push(&book->servers, &server->link);
    return server;
}

struct plain_server *plain_book_get(struct plain_book *book, struct span authority)
{
    book_lock(book);
    struct plain_server *server = server_find(book, authority);
    if (server == NULL)
        server = server_new(book, authority);
    server->holders++;
    book_unlock(book);
    return server;
}

void plain_book_put(struct plain_book *book, struct plain_server *server)
{
    book_lock(book);
    must(server->holders > 0);
    if (--server->holders == 0) {
        must(server->conn_count == 0 && list_is_empty(&server->idle));
        list_take(&server->link);
        free(server);
    }
    book_unlock(book);
}

void plain_book_note(struct plain_book *book, struct plain_server *server, struct span digits, msec until)
{
    book_lock(book);
    server->until = digits.len > 0 && digits.len < sizeof server->digits ? until : 0;
    if (server->until != 0) {
        memcpy(server->digits, digits.at, digits.len);
        server->digits[digits.len] = '\0';
    }
    book_unlock(book);
}

bool plain_book_look(struct plain_book *book, struct plain_server *server, msec now, char ret_digits[PLAIN_ADDRESS_BYTES], msec *ret_until)
{
    book_lock(book);
    bool is_known = server->until > now;
    if (is_known) {
        memcpy(ret_digits, server->digits, sizeof server->digits);
        *ret_until = server->until;
    }
    book_unlock(book);
    return is_known;
}

/* --- connections --------------------------------------------------------------------------------------------------- */

/* Its owner hears of the end, and closes it: until then the descriptor is its own. */
static void conn_shut(struct plain_server *server, struct plain_conn *conn)
{
    list_take(&conn->in_book);
    server->conn_count--;
    conn->is_shut = true;
    shutdown(conn->fd, SHUT_RDWR);
}

void plain_book_add(struct plain_book *book, struct plain_server *server, uint32_t most)
{
    book_lock(book);
    if (most > 0 && server->conn_count >= most && !list_is_empty(&server->idle))
        conn_shut(server, container_of(server->idle.next, struct plain_conn, in_book));
    server->conn_count++;
    book_unlock(book);
}

void plain_book_sub(struct plain_book *book, struct plain_server *server)
{
    book_lock(book);
    server->conn_count--;
    book_unlock(book);
}

void plain_book_take(struct plain_book *book, struct plain_conn *conn)
{
    book_lock(book);
    if (!conn->is_shut) {
        list_take(&conn->in_book);
        conn->host->server->conn_count--;
    }
    book_unlock(book);
}

void plain_book_rest(struct plain_book *book, struct plain_conn *conn)
{
    book_lock(book);
    list_push(&conn->host->server->idle, &conn->in_book);
    book_unlock(book);
}

bool plain_book_use(struct plain_book *book, struct plain_conn *conn)
{
    book_lock(book);
    bool may_use = !conn->is_shut;
    list_take(&conn->in_book);
    book_unlock(book);
    return may_use;
}
