#include "server_list.h"

#include <stdio.h>

static const struct {
    struct span scheme;
    bool        is_tls;
} schemes[] = {
    { SPAN("tcp://"), false }, { SPAN("tls://"), true }, { SPAN("lw://"), false }, { SPAN("lws://"), true },
};

static struct span cut_scheme(struct span text, bool *ret_is_tls)
{
    *ret_is_tls = false;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (span_eq_nocase(span_head(text, schemes[i].scheme.len), schemes[i].scheme)) {
            *ret_is_tls = schemes[i].is_tls;
            return span_skip(text, schemes[i].scheme.len);
        }
    return text;
}

static bool is_host(struct span host)
{
    for (size_t i = 0; i < host.len; i++) {
        char byte = host.at[i];
        bool is_good = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                       memchr("-._:%", byte, 5) != NULL;
        if (!is_good)
            return false;
    }
    return host.len > 0 && host.len <= HOST_BYTES_MAX;
}

static bool is_port(struct span port)
{
    uint64_t number;

    return port.len <= PORT_BYTES_MAX && span_u64(port, &number) && number >= 1 && number <= 65535;
}

/* "host", "host:port", "[::1]", "[::1]:port", "::1". *ret_port is empty where none is given. */
static bool cut_host(struct span text, struct span *ret_host, struct span *ret_port)
{
    const char *bracket = text.len > 0 && text.at[0] == '[' ? memchr(text.at, ']', text.len) : NULL;
    const char *colon   = text.len > 0 ? memchr(text.at, ':', text.len) : NULL;

    *ret_host = text;
    *ret_port = SPAN("");
    if (bracket != NULL) {
        struct span rest = span_skip(text, (size_t)(bracket - text.at) + 1);
        *ret_host        = span_of(text.at + 1, (size_t)(bracket - text.at) - 1);
        *ret_port        = rest.len > 0 ? span_skip(rest, 1) : rest;
        return rest.len == 0 || rest.at[0] == ':';
    }
    if (colon == NULL || memchr(colon + 1, ':', (size_t)(text.at + text.len - colon - 1)) != NULL)
        return true;
    *ret_host = span_head(text, (size_t)(colon - text.at));
    *ret_port = span_skip(text, ret_host->len + 1);
    return ret_port->len > 0;
}

/* Behind the scheme. `scheme` and `usual_port` are of what stands there. */
static bool read_address(struct span text, const char *scheme, struct span usual_port, struct server_entry *ret)
{
    struct span host, port;

    if (text.len > 0 && text.at[text.len - 1] == '/')
        text.len--;
    if (!cut_host(text, &host, &port))
        return false;
    if (port.len == 0)
        port = usual_port;
    if (!is_host(host) || !is_port(port))
        return false;
    bool is_v6 = memchr(host.at, ':', host.len) != NULL;
    snprintf(ret->host, sizeof ret->host, "%.*s", SPAN_ARG(host));
    snprintf(ret->port, sizeof ret->port, "%.*s", SPAN_ARG(port));
    snprintf(ret->url, sizeof ret->url, is_v6 ? "%s://[%s]:%s" : "%s://%s:%s", scheme, ret->host, ret->port);
    return true;
}

static bool read_entry(struct span text, struct server_entry *ret)
{
    text = cut_scheme(text, &ret->is_tls);
    return read_address(text, ret->is_tls ? "tls" : "tcp", ret->is_tls ? SPAN("7443") : SPAN("7400"), ret);
}

bool server_entry_read_http(struct span text, struct server_entry *ret)
{
    static const struct span secure = SPAN("https://"), plain = SPAN("http://");

    ret->is_tls = span_eq_nocase(span_head(text, secure.len), secure);
    if (!ret->is_tls && !span_eq_nocase(span_head(text, plain.len), plain))
        return false;
    text = span_skip(text, ret->is_tls ? secure.len : plain.len);
    return read_address(text, ret->is_tls ? "https" : "http", ret->is_tls ? SPAN("443") : SPAN("80"), ret);
}

void server_list_keep(struct server_list *list, bool takes_tls, bool takes_plain)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++)
        if (list->at[i].is_tls ? takes_tls : takes_plain)
            list->at[kept++] = list->at[i];
    list->count = kept;
    list->has_tls &= takes_tls;
}

void server_list_pick(struct span text, struct server_list *ret)
{
    struct span part;

    *ret = (struct server_list){ 0 };
    while (ret->count < SERVER_COUNT_MAX && span_cut(&text, ',', &part)) {
        if (read_entry(span_trim(part), &ret->at[ret->count])) {
            ret->has_tls |= ret->at[ret->count].is_tls;
            ret->count++;
        }
    }
}

const char *server_list_read(struct span text, struct server_list *ret)
{
    struct span part;

    *ret = (struct server_list){ 0 };
    while (span_cut(&text, ',', &part)) {
        part = span_trim(part);
        if (ret->count == SERVER_COUNT_MAX)
            return "servers: more than 16 are named; leave some out";
        if (!read_entry(part, &ret->at[ret->count]))
            return "servers: one of them is no address; write tcp://HOST:PORT or tls://HOST:PORT, several with commas";
        ret->has_tls |= ret->at[ret->count++].is_tls;
    }
    return ret->count > 0 ? NULL : "servers: none is named; write for instance tcp://127.0.0.1:7400";
}
