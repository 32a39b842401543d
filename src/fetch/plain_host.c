/* plain_host.c - the servers that our own client knows. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/must.h"
#include "fetch/fetch_priv.h"

static struct plain_host *host_at(struct list *link)
{
    return container_of(link, struct plain_host, link);
}

/* The operator's file names the servers, so that nobody can choose names that collide. */
static uint64_t host_hash(struct span authority)
{
    static const struct hash_key key = { 0, 0 };
    return hash_bytes(&key, authority);
}

static bool is_host(const struct map_node *node, const void *key)
{
    const struct plain_host *host = container_of(node, const struct plain_host, node);
    return span_eq(span_of(host->name, host->name_len), *(const struct span *)key);
}

static void host_forget(struct plain *plain, struct plain_host *host)
{
    must(host->conn_count == 0);
    map_take(&plain->map, &host->node);
    list_take(&host->link);
    plain->host_count--;
    plain_book_put(plain->book, host->server);
    free(host);
}

/* False: each has a connection. */
static bool forget_one(struct plain *plain)
{
    for (struct list *at = plain->hosts.next; at != &plain->hosts; at = at->next)
        if (host_at(at)->conn_count == 0) {
            host_forget(plain, host_at(at));
            return true;
        }
    return false;
}

static struct plain_host *host_find(const struct plain *plain, const struct plain_url *url)
{
    struct map_node *node = map_find(&plain->map, host_hash(url->authority), is_host, &url->authority);
    return node == NULL ? NULL : container_of(node, struct plain_host, node);
}

/* 0: these are no digits of an address. */
static socklen_t host_address_read(struct span digits, unsigned port, struct sockaddr_storage *ret)
{
    struct sockaddr_in  *v4                     = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6                     = (struct sockaddr_in6 *)ret;
    char                 text[INET6_ADDRSTRLEN] = { 0 };

    memset(ret, 0, sizeof *ret);
    if (digits.len == 0 || digits.len >= sizeof text)
        return 0;
    memcpy(text, digits.at, digits.len);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port   = htons((uint16_t)port);
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return 0;
    v6->sin6_family = AF_INET6;
    v6->sin6_port   = htons((uint16_t)port);
    return sizeof *v6;
}

/* `digits` of its address; if they are none, it is not known. */
static void host_learn(struct plain_host *host, struct span digits, unsigned port, msec until)
{
    struct sockaddr_storage address;
    socklen_t               len = host_address_read(digits, port, &address);

    host->is_known    = len > 0;
    host->known_until = until;
    if (len == 0 || (len == host->address_len && memcmp(&address, &host->address, len) == 0))
        return;
    host->address     = address;
    host->address_len = len;
    host->generation++;
}

struct plain_host *plain_host_get(struct plain *plain, const struct plain_url *url)
{
    struct plain_host *host = host_find(plain, url);

    if (host != NULL || (plain->host_count >= PLAIN_HOSTS_MAX && !forget_one(plain)))
        return host;
    host = calloc(1, sizeof *host);
    must(host != NULL && url->authority.len <= sizeof host->name);
    memcpy(host->name, url->authority.at, url->authority.len);
    host->name_len = url->authority.len;
    host->port     = url->port;
    host->server   = plain_book_get(plain->book, url->authority);
    list_init(&host->idle);
    map_add(&plain->map, &host->node, host_hash(url->authority));
    list_push(&plain->hosts, &host->link);
    plain->host_count++;
    host_learn(host, url->host, url->port, 0);
    return host;
}

void plain_looked_up(struct fetch *fetch, const struct fetch_call *call, struct span address)
{
    struct plain_url   url;
    struct plain_host *host;

    if (!plain_url_read(span_str(call->url), &url) || (host = host_find(&fetch->plain, &url)) == NULL)
        return;
    host->is_looked_up = false;
    host_learn(host, address, url.port, fetch->loop->now + PLAIN_NAME_MS);
    plain_book_note(fetch->plain.book, host->server, address, host->known_until);
}

/* Nobody knows any more: one call goes on to whoever looks names up, and the others, if they can, where they went. */
void plain_host_ask_book(struct fetch *fetch, struct plain_host *host)
{
    char digits[PLAIN_ADDRESS_BYTES];
    msec until;

    if (host->is_known && (host->known_until == 0 || host->known_until > fetch->loop->now))
        return;
    if (plain_book_look(fetch->plain.book, host->server, fetch->loop->now, digits, &until))
        host_learn(host, span_str(digits), host->port, until);
}

void plain_init(struct fetch *fetch, struct plain_book *book)
{
    fetch->plain.book = book;
    map_init(&fetch->plain.map);
    list_init(&fetch->plain.hosts);
    list_init(&fetch->plain.idle);
    list_init(&fetch->plain.closed);
}

void plain_fini(struct fetch *fetch)
{
    struct plain *plain = &fetch->plain;

    must(list_is_empty(&plain->closed) && plain->idle_count == 0);
    while (!list_is_empty(&plain->hosts))
        host_forget(plain, host_at(plain->hosts.next));
    map_fini(&plain->map);
}
