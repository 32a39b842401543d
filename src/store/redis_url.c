#include "store/redis_url.h"

#include <stdio.h>

#include "base/hex.h"

enum { PORT_LAST = 65535 };

static enum rc url_refuse(char *ret_why, size_t why_size, const char *why)
{
    snprintf(ret_why, why_size, "%s", why);
    return RC_BAD;
}

/* Decodes what is percent-encoded into a C string. False: it is too long, empty of sense, or holds a NUL. */
static bool text_decode(struct span text, char *ret, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        int byte = (unsigned char)text.at[i];
        if (byte == '%') {
            if (i + 2 >= text.len || hex_digit(text.at[i + 1]) < 0 || hex_digit(text.at[i + 2]) < 0)
                return false;
            byte = hex_digit(text.at[i + 1]) * 16 + hex_digit(text.at[i + 2]);
            i += 2;
        }
        if (byte == 0 || len + 1 >= size)
            return false;
        ret[len++] = (char)byte;
    }
    ret[len] = '\0';
    return true;
}

static bool number_parse(struct span text, uint64_t most, uint64_t *ret)
{
    return span_u64(text, ret) && *ret <= most;
}

static enum rc unix_parse(struct span rest, struct redis_url *url, char *ret_why, size_t why_size)
{
    struct span path = rest;
    uint64_t    db   = 0;

    span_cut(&rest, '?', &path);
    if (path.len == 0 || path.at[0] != '/' || !text_decode(path, url->path, sizeof url->path))
        return url_refuse(ret_why, why_size, "the path of a Unix socket of Redis begins with / and has at most 107 bytes");
    if (rest.len > 0 && (!span_starts(rest, SPAN("db=")) || !number_parse(span_skip(rest, 3), REDIS_DB_LAST, &db)))
        return url_refuse(ret_why, why_size, "behind the path of a Unix socket of Redis there may be ?db=NUMBER alone");
    url->db = (uint32_t)db;
    return RC_OK;
}

/* [USER]:PASSWORD or PASSWORD's user alone, which has no sense. */
static enum rc login_parse(struct span login, struct redis_url *url, char *ret_why, size_t why_size)
{
    struct span user = { 0 };

    if (memchr(login.at, ':', login.len) == NULL)
        return url_refuse(ret_why, why_size, "the address of a Redis names a user without a password: write USER:PASSWORD@ or :PASSWORD@");
    span_cut(&login, ':', &user);
    if (!text_decode(user, url->user, sizeof url->user) || !text_decode(login, url->password, sizeof url->password))
        return url_refuse(ret_why, why_size, "user and password of a Redis have at most 255 bytes; other signs than letters and digits are percent-encoded");
    return RC_OK;
}

/* HOST, HOST:PORT, [V6], [V6]:PORT */
static bool place_parse(struct span place, struct redis_url *url)
{
    struct span host = place, port = { 0 };
    uint64_t    number = REDIS_PORT;

    if (place.len > 0 && place.at[0] == '[') {
        const char *end = memchr(place.at, ']', place.len);
        if (end == NULL)
            return false;
        host = span_of(place.at + 1, (size_t)(end - place.at) - 1);
        port = span_skip(place, host.len + 2);
    } else {
        const char *colon = place.len == 0 ? NULL : memchr(place.at, ':', place.len);
        if (colon != NULL)
            host = span_of(place.at, (size_t)(colon - place.at));
        port = span_skip(place, host.len);
    }
    if (port.len > 0 && (port.at[0] != ':' || !number_parse(span_skip(port, 1), PORT_LAST, &number) || number == 0))
        return false;
    url->port = (uint16_t)number;
    return host.len > 0 && text_decode(host, url->host, sizeof url->host);
}

static enum rc tcp_parse(struct span rest, struct redis_url *url, char *ret_why, size_t why_size)
{
    const char *at = NULL;
    struct span place;
    uint64_t    db = 0;

    for (size_t i = 0; i < rest.len; i++)
        at = rest.at[i] == '@' ? rest.at + i : at;
    if (at != NULL) {
        enum rc rc = login_parse(span_of(rest.at, (size_t)(at - rest.at)), url, ret_why, why_size);
        if (rc != RC_OK)
            return rc;
        rest = span_skip(rest, (size_t)(at - rest.at) + 1);
    }
    place = rest;
    span_cut(&rest, '/', &place);
    if (!place_parse(place, url))
        return url_refuse(ret_why, why_size, "the address of a Redis needs a host, and a port from 1 to 65535 if it names one");
    if (rest.len > 0 && !number_parse(rest, REDIS_DB_LAST, &db))
        return url_refuse(ret_why, why_size, "what stands behind the / in the address of a Redis is the number of a database, 0 to 65535");
    url->db = (uint32_t)db;
    return RC_OK;
}

enum rc redis_url_parse(struct span text, struct redis_url *ret, char *ret_why, size_t why_size)
{
    struct redis_url url = { .port = REDIS_PORT };
    enum rc          rc  = RC_BAD;

    if (span_starts(text, SPAN("redis://")))
        rc = tcp_parse(span_skip(text, 8), &url, ret_why, why_size);
    else if (span_starts(text, SPAN("unix://")))
        rc = unix_parse(span_skip(text, 7), &url, ret_why, why_size);
    else
        url_refuse(ret_why, why_size, "the address of a Redis is redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or unix:///PATH[?db=DB]; TLS is not spoken");
    if (rc == RC_OK)
        *ret = url;
    return rc;
}

enum rc redis_urls_parse(struct span text, struct redis_url ret[REDIS_INSTANCES], size_t *ret_count, char *ret_why,
                         size_t why_size)
{
    struct redis_url urls[REDIS_INSTANCES];
    struct span      rest = text, one;
    size_t           count = 0;

    while (span_cut(&rest, ',', &one)) {
        if (count == REDIS_INSTANCES)
            return url_refuse(ret_why, why_size, "a cluster has at most 16 instances of Redis");
        enum rc rc = redis_url_parse(span_trim(one), &urls[count++], ret_why, why_size);
        if (rc != RC_OK)
            return rc;
    }
    if (count == 0)
        return url_refuse(ret_why, why_size, "the address of a Redis is missing");
    memcpy(ret, urls, count * sizeof urls[0]);
    *ret_count = count;
    return RC_OK;
}

void redis_url_put(struct buf *buf, const struct redis_url *url)
{
    if (url->path[0] != '\0')
        buf_putf(buf, "unix://%s?db=%u", url->path, url->db);
    else
        buf_putf(buf, strchr(url->host, ':') != NULL ? "redis://[%s]:%u/%u" : "redis://%s:%u/%u", url->host, url->port, url->db);
}
