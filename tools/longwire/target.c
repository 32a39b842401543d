#include "longwire/target.h"

#include <stdlib.h>

#include "longwire/cli.h"

enum { URL_BYTES_MAX = 8192 };

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value == NULL || *value == '\0' ? otherwise : value;
}

void target_init(struct target *target)
{
    *target = (struct target){
        .server = environment("LONGWIRE_SERVER", "127.0.0.1"),
        .key    = environment("LONGWIRE_KEY", NULL),
    };
    buf_init(&target->url, URL_BYTES_MAX);
    if (target->key != NULL)
        cli_hide(span_str(target->key));
}

void target_fini(struct target *target)
{
    buf_fini(&target->url);
    free(target->key_copy);
}

void target_take_key(struct target *target, char *value)
{
    free(target->key_copy);
    target->key_copy = strdup(value);
    must(target->key_copy != NULL);
    target->key = target->key_copy;
    cli_hide(span_str(target->key));
    memset(value, '*', strlen(value));
}

/* --- the address ------------------------------------------------------------------------------------------------ */

static size_t count_of(struct span text, char byte)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.at[i] == byte;
    return count;
}

static size_t scheme_len(struct span server)
{
    if (span_eq_nocase(span_head(server, 7), SPAN("http://")))
        return 7;
    return span_eq_nocase(span_head(server, 8), SPAN("https://")) ? 8 : 0;
}

/* "host", "host:port", "[::1]", "[::1]:port", "::1"; no scheme before it. */
static void host_put(struct buf *url, struct span host)
{
    size_t user = host.len;  /* "user:password@" stays as it is */
    while (user > 0 && host.at[user - 1] != '@')
        user--;
    buf_put(url, span_head(host, user));
    host = span_skip(host, user);

    bool is_bare_v6 = host.len > 0 && host.at[0] != '[' && count_of(host, ':') > 1;
    bool has_port   = !is_bare_v6 && host.len > 0 &&
                      (host.at[0] == '[' ? host.at[host.len - 1] != ']' : count_of(host, ':') == 1);
    if (is_bare_v6)
        buf_putc(url, '[');
    buf_put(url, host);
    if (is_bare_v6)
        buf_putc(url, ']');
    if (!has_port)
        buf_put_lit(url, ":8080");
}

bool server_url_put(struct buf *url, struct span server)
{
    size_t scheme = scheme_len(server);
    while (server.len > scheme && server.at[server.len - 1] == '/')
        server.len--;
    if (!cli_is_visible(server) || server.len == scheme || count_of(server, '?') + count_of(server, '#') > 0)
        return false;
    if (scheme > 0) {
        buf_put(url, server);
    } else {
        if (count_of(server, '/') > 0)
            return false;
        buf_put_lit(url, "http://");
        host_put(url, server);
    }
    return !buf_is_over(url);
}

bool server_is_native(struct span server)
{
    static const struct span schemes[] = { SPAN("lw://"), SPAN("lws://"), SPAN("tcp://"), SPAN("tls://") };

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++)
        if (span_eq_nocase(span_head(server, schemes[i].len), schemes[i]))
            return true;
    return false;
}

/* One URL behind the other. */
static bool put_urls(struct target *target)
{
    struct span rest = span_str(target->server), one;

    for (target->url_count = 0; span_cut(&rest, ',', &one); target->url_count++) {
        if (target->url_count == SERVERS_MAX || !server_url_put(&target->url, span_trim(one)))
            return false;
        buf_putc(&target->url, '\0');
    }
    return target->url_count > 0;
}

bool target_is_sound(struct target *target)
{
    buf_clear(&target->url);
    target->is_native = server_is_native(span_str(target->server));
    if (target->is_native) {
        buf_put(&target->url, span_str(target->server));  /* the client library checks it */
        buf_putc(&target->url, '\0');
    } else if (!put_urls(target)) {
        say("--server \"%s\" is not an address; it looks like 127.0.0.1:8080 or https://push.example, several "
            "(at most 16) with commas", target->server);
        return false;
    }
    if (target->key != NULL && !cli_is_visible(span_str(target->key))) {
        say("--key holds characters that no key has (spaces, control characters or beyond ASCII)");
        return false;
    }
    return true;
}
