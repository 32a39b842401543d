/* server_list.h - the servers that a client may connect to, from the text of lw_options.servers. Pure. */
#ifndef CLIENT_SERVER_LIST_H
#define CLIENT_SERVER_LIST_H

#include "base/span.h"

enum { SERVER_COUNT_MAX = 16, HOST_BYTES_MAX = 253, PORT_BYTES_MAX = 5 };

struct server_entry {
    bool is_tls;
    char host[HOST_BYTES_MAX + 1];  /* a name or an address, without brackets */
    char port[PORT_BYTES_MAX + 1];
    char url[sizeof "tcp://[]:" + HOST_BYTES_MAX + PORT_BYTES_MAX];  /* "tcp://[::1]:7400" */
};

struct server_list {
    struct server_entry at[SERVER_COUNT_MAX];
    size_t              count;
    bool                has_tls;
};

/* NULL: read. Else a sentence that says why not; *ret is not to be used then. */
const char *server_list_read(struct span text, struct server_list *ret);

/* The address of an HTTP server: "http://HOST[:PORT]" or "https://HOST[:PORT]", without a path. False: it is none. */
bool server_entry_read_http(struct span text, struct server_entry *ret);

/* Leaves out those with TLS, or those without, where they may not be used. */
void server_list_keep(struct server_list *list, bool takes_tls, bool takes_plain);

/* As the server names other nodes: entries of the native protocol among others, with commas; the others are left out. */
void server_list_pick(struct span text, struct server_list *ret);

#endif
