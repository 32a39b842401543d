/* Texts that have a form of their own: listen addresses, browser origins, names. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>

#include "settings/advertise.h"
#include "settings/origin_rule.h"
#include "settings/settings_priv.h"
#include "settings/url_list.h"

/* The next entry of a list with commas, without the spaces around it. An empty list has none. */
static bool list_next(struct span *rest, struct span *ret_entry)
{
    if (!span_cut(rest, ',', ret_entry))
        return false;
    *ret_entry = span_trim(*ret_entry);
    return true;
}

/* --- addresses ----------------------------------------------------------------------------------------------- */

static bool port_read(struct span text, uint64_t least, uint64_t *ret_port)
{
    return span_u64(text, ret_port) && *ret_port >= least && *ret_port <= UINT16_MAX;
}

static void host_copy(struct span host, char *ret, size_t bytes_max)
{
    size_t len = host.len < bytes_max ? host.len : bytes_max - 1;
    memcpy(ret, host.at, len);
    ret[len] = '\0';
}

static bool ipv6_read(struct span host, uint16_t port, struct listen_address *ret)
{
    struct sockaddr_in6 at = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    char                text[INET6_ADDRSTRLEN + 1];

    host_copy(span_head(span_skip(host, 1), host.len - 2), text, sizeof text);
    if (inet_pton(AF_INET6, text, &at.sin6_addr) != 1)
        return false;
    memcpy(&ret->at, &at, sizeof at);
    ret->len         = sizeof at;
    ret->is_loopback = IN6_IS_ADDR_LOOPBACK(&at.sin6_addr);
    return true;
}

static bool ipv4_read(struct span host, uint16_t port, struct listen_address *ret)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    char               text[INET_ADDRSTRLEN + 1];

    host_copy(span_eq(host, SPAN("localhost")) ? SPAN("127.0.0.1") : host, text, sizeof text);
    if (inet_pton(AF_INET, text, &at.sin_addr) != 1)
        return false;
    memcpy(&ret->at, &at, sizeof at);
    ret->len         = sizeof at;
    ret->is_loopback = ntohl(at.sin_addr.s_addr) >> 24 == 127;
    return true;
}

/* Only numeric addresses: what a name server says can change between two starts. */
static bool address_read(struct span text, struct listen_address *ret)
{
    size_t   colon = text.len;
    uint64_t port;

    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    if (colon < 2 || text.len > LISTEN_TEXT_BYTES_MAX || !port_read(span_skip(text, colon), 0, &port))
        return false;

    struct span host = span_head(text, colon - 1);
    *ret = (struct listen_address){ 0 };
    memcpy(ret->text, text.at, text.len);
    if (host.at[0] == '[' && host.at[host.len - 1] == ']')
        return ipv6_read(host, (uint16_t)port, ret);
    return ipv4_read(host, (uint16_t)port, ret);
}

static bool is_listed(const struct listen_address *list, size_t count, const struct listen_address *address)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].text, address->text) == 0)
            return true;
    return false;
}

static bool addresses_read(struct span text, struct listen_address *list, size_t *ret_count, struct buf *why)
{
    size_t      count = 0;
    struct span entry;

    while (list_next(&text, &entry)) {
        if (count == LISTENS_MAX) {
            buf_putf(why, "must be at most %d addresses", LISTENS_MAX);
            return false;
        }
        if (!address_read(entry, &list[count]) || is_listed(list, count, &list[count])) {
            buf_put_lit(why, "must be different numeric ADDRESS:PORT with commas between, like 127.0.0.1:8080, "
                             "[::1]:8080");
            return false;
        }
        count++;
    }
    *ret_count = count;
    return true;
}

static bool listens_read(struct settings *settings, struct span text, struct buf *why)
{
    struct listen_address list[LISTENS_MAX];
    size_t                count;

    if (!addresses_read(text, list, &count, why))
        return false;
    if (count == 0) {
        buf_put_lit(why, "must name at least one ADDRESS:PORT");
        return false;
    }
    memcpy(settings->listens, list, count * sizeof list[0]);
    settings->listen_count = count;
    return true;
}

/* An address may be left out: *ret_count is 0 then. */
static bool other_listens_read(struct span text, const struct listen_address *kind, struct listen_address *ret,
                               size_t *ret_count, struct buf *why)
{
    struct listen_address list[LISTENS_MAX];
    size_t                count;

    if (!addresses_read(text, list, &count, why))
        return false;
    for (size_t i = 0; i < count; i++) {
        list[i].is_native = kind->is_native;
        list[i].is_tls    = kind->is_tls;
        ret[i]            = list[i];
    }
    *ret_count = count;
    return true;
}

static bool native_listens_read(struct settings *settings, struct span text, struct buf *why)
{
    return other_listens_read(text, &(const struct listen_address){ .is_native = true }, settings->native_listens,
                              &settings->native_listen_count, why);
}

static bool tls_listens_read(struct settings *settings, struct span text, struct buf *why)
{
    return other_listens_read(text, &(const struct listen_address){ .is_tls = true }, settings->tls_listens,
                              &settings->tls_listen_count, why);
}

static bool native_tls_listens_read(struct settings *settings, struct span text, struct buf *why)
{
    return other_listens_read(text, &(const struct listen_address){ .is_native = true, .is_tls = true },
                              settings->native_tls_listens, &settings->native_tls_listen_count, why);
}

/* --- origins ------------------------------------------------------------------------------------------------- */

/* Browsers leave the scheme's own port out, so a rule that names it would fit nothing. */
static void drop_default_port(char *rule)
{
    static const struct { struct span scheme, port; } rows[] = {
        { SPAN("http://"), SPAN(":80") }, { SPAN("https://"), SPAN(":443") },
    };
    size_t len = strlen(rule);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (span_starts(span_of(rule, len), rows[i].scheme) && len > rows[i].port.len &&
            strcmp(rule + len - rows[i].port.len, rows[i].port.at) == 0)
            rule[len - rows[i].port.len] = '\0';
}

static bool origin_read(struct span text, char *ret)
{
    if (text.len > ORIGIN_BYTES_MAX)
        return false;
    memset(ret, 0, ORIGIN_BYTES_MAX + 1);
    for (size_t i = 0; i < text.len; i++)
        ret[i] = (char)tolower((unsigned char)text.at[i]);
    drop_default_port(ret);
    bool has_nul = text.len > 0 && memchr(text.at, '\0', text.len) != NULL;
    return !has_nul && origin_rule_is_valid(span_str(ret));
}

static bool origins_read(struct settings *settings, struct span text, struct buf *why)
{
    char        list[ORIGINS_MAX][ORIGIN_BYTES_MAX + 1];
    size_t      count = 0;
    struct span entry;

    while (list_next(&text, &entry)) {
        if (count == ORIGINS_MAX) {
            buf_putf(why, "must be at most %d origins", ORIGINS_MAX);
            return false;
        }
        if (!origin_read(entry, list[count])) {
            buf_put_lit(why, "must be origins with commas between, like https://app.example, https://*.example.com or "
                             "http://localhost:*, without a path; or null; or * for all");
            return false;
        }
        count++;
    }
    memcpy(settings->origin_list, list, count * sizeof list[0]);
    settings->origin_count = count;
    return true;
}

/* --- proxies ------------------------------------------------------------------------------------------------- */

static bool ranges_read(struct ip_ranges *ranges, struct span text, struct buf *why)
{
    struct ip_ranges list = { .count = 0 };
    struct span      entry;

    while (list_next(&text, &entry)) {
        if (list.count == IP_RANGES_MAX) {
            buf_putf(why, "must be at most %d ranges of addresses", IP_RANGES_MAX);
            return false;
        }
        if (!ip_range_read(entry, &list.at[list.count])) {
            buf_put_lit(why, "must be numeric ADDRESS/BITS or ADDRESS with commas between, like 10.0.0.0/8, 192.0.2.7, fd00::/8");
            return false;
        }
        list.count++;
    }
    *ranges = list;
    return true;
}

/* --- names --------------------------------------------------------------------------------------------------- */

static bool congestion_is_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.at[i]) && name.at[i] != '_' && name.at[i] != '-')
            return false;
    return name.len > 0;
}

/* What a shell would have changed is a mistake here: it would silently become the name of a directory. */
static bool data_is_plain(struct span path, struct buf *why)
{
    const char *complaint = NULL;

    if (path.len == 0)
        complaint = "must name a directory";
    else if (path.at[0] == '"' || path.at[0] == '\'')
        complaint = "must stand without quotes: nothing takes them off here";
    else if (path.at[0] == '~' || path.at[0] == '$' || memmem(path.at, path.len, "${", 2) != NULL)
        complaint = "must be the path itself: neither ~ nor variables are replaced here";
    else if (isblank((unsigned char)path.at[0]) || isblank((unsigned char)path.at[path.len - 1]))
        complaint = "must neither begin nor end with a blank";
    else if (memmem(path.at, path.len, "# ", 2) != NULL)
        complaint = "must not hold a # before a blank; a comment needs a blank before its #";
    if (complaint != NULL)
        buf_put(why, span_str(complaint));
    return complaint == NULL;
}

/* --- the store ----------------------------------------------------------------------------------------------- */

static bool url_is_postgres(struct span url)
{
    return url.len <= STORE_URL_BYTES_MAX &&
           (span_starts(url, SPAN("postgres://")) || span_starts(url, SPAN("postgresql://")));
}

/* Two shards in one database would take each other's channels. */
static bool url_is_repeated(struct span list, struct span url, size_t before)
{
    struct span other;

    while (before-- > 0 && url_list_next(&list, &other))
        if (span_eq(other, url))
            return true;
    return false;
}

/* How many URLs it has; 0: one of them can't be used. */
static size_t store_urls_count(struct span text)
{
    struct span rest = text, url;
    size_t      count = 0;

    while (url_list_next(&rest, &url)) {
        if (count == STORE_URLS_MAX || !url_is_postgres(url) || url_is_repeated(text, url, count))
            return 0;
        count++;
    }
    return count;
}

static bool store_read(struct settings *settings, struct span text, struct buf *why)
{
    if (span_eq(text, SPAN("rocks"))) {
        settings->store_kind = STORE_ROCKS;
    } else if (span_eq(text, SPAN("memory"))) {
        settings->store_kind = STORE_MEMORY;
    } else if (store_urls_count(text) > 0) {
        settings->store_kind = STORE_POSTGRES;
    } else {
        buf_putf(why, "must be rocks, memory, or 1 to %d different URLs with commas between, like "
                      "postgres://longwire@db1/push, each at most %d bytes long", STORE_URLS_MAX, STORE_URL_BYTES_MAX);
        return false;
    }
    return true;
}

/* --- the cluster --------------------------------------------------------------------------------------------- */

/* The engine reads its URLs itself, and says what is wrong with them. */
static bool cluster_read(struct settings *settings, struct span text, struct buf *why)
{
    if (text.len == 0) {
        settings->cluster_kind = CLUSTER_NONE;
    } else if (span_eq(text, SPAN("postgres"))) {
        settings->cluster_kind = CLUSTER_POSTGRES;
    } else if (span_starts(text, SPAN("redis://")) || span_starts(text, SPAN("unix://"))) {
        settings->cluster_kind = CLUSTER_REDIS;
    } else {
        buf_put_lit(why, "must be empty, postgres, or URLs of Redis with commas between, like redis://10.0.0.7:6379");
        return false;
    }
    return true;
}

static unsigned role_bit(struct span word)
{
    static const char *const words[] = { "access", "api", "router", "forward" };

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        if (span_eq(word, span_str(words[i])))
            return 1u << i;
    return 0;
}

static bool roles_read(struct settings *settings, struct span text, struct buf *why)
{
    struct span rest = text, word;
    unsigned    bits = 0;

    while (list_next(&rest, &word)) {
        unsigned bit = role_bit(word);
        if (bit == 0) {
            bits = 0;
            break;
        }
        bits |= bit;
    }
    if (bits == 0) {
        buf_put_lit(why, "must be some of access, api, router and forward, with commas between");
        return false;
    }
    settings->role_bits = bits;
    return true;
}

bool setting_text_accept(struct settings *settings, enum setting setting, struct span text, struct buf *why)
{
    if (setting == SETTING_http)
        return listens_read(settings, text, why);
    if (setting == SETTING_origins)
        return origins_read(settings, text, why);
    if (setting == SETTING_proxy_protocol)
        return ranges_read(&settings->proxy_protocol_ranges, text, why);
    if (setting == SETTING_trusted_proxies)
        return ranges_read(&settings->trusted_proxy_ranges, text, why);
    if (setting == SETTING_tcp)
        return native_listens_read(settings, text, why);
    if (setting == SETTING_https)
        return tls_listens_read(settings, text, why);
    if (setting == SETTING_tcps)
        return native_tls_listens_read(settings, text, why);
    if (setting == SETTING_store)
        return store_read(settings, text, why);
    if (setting == SETTING_cluster)
        return cluster_read(settings, text, why);
    if (setting == SETTING_roles)
        return roles_read(settings, text, why);
    if (setting == SETTING_data)
        return data_is_plain(text, why);
    if (setting == SETTING_advertise && !advertise_is_valid(text)) {
        buf_put_lit(why, "must be addresses with commas between, like https://push.example or tcp://10.0.0.5:7400");
        return false;
    }
    if (setting == SETTING_congestion_control && !congestion_is_valid(text)) {
        buf_put_lit(why, "must be the name of a congestion control, like cubic or bbr");
        return false;
    }
    return true;
}
