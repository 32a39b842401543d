#include "codec/forwarded/forwarded.h"

/* What one proxy has appended. */
struct forwarded_hop {
    struct ip_address    address;  /* IP_UNKNOWN: hidden, broken, or not there */
    enum forwarded_proto proto;
};

/* What is known when the hops so far were all. Hops come from left to right. */
struct forwarded_walk {
    const struct ip_ranges *trusted;
    struct forwarded        found;
    size_t                  seen;       /* hops */
    size_t                  found_at;   /* `seen` when `found` came */
    bool                    is_hidden;  /* the hop that counts has no address: that of the next hop counts for it */
};

static void walk_hop(struct forwarded_walk *walk, const struct forwarded_hop *hop)
{
    bool is_trusted = ip_ranges_have(walk->trusted, &hop->address);

    walk->seen++;
    if (!is_trusted || walk->seen == 1) {
        walk->found     = (struct forwarded){ hop->address, hop->proto };
        walk->found_at  = walk->seen;
        walk->is_hidden = !ip_is_known(&hop->address);
    } else if (walk->is_hidden) {
        walk->found.client = hop->address;
        walk->is_hidden    = false;
    }
}

/* Nothing that came so far counts. */
static void walk_break(struct forwarded_walk *walk)
{
    walk_hop(walk, &(struct forwarded_hop){ IP_UNKNOWN, FORWARDED_PROTO_UNKNOWN });
}

/* --- addresses --------------------------------------------------------------------------------------------------- */

static bool digits_only(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    return text.len > 0;
}

/* A port, or `_name` in its place (RFC 7239 6.2). */
static bool node_port_is_fine(struct span port)
{
    return (port.len <= 5 && digits_only(port)) || (port.len > 1 && port.at[0] == '_');
}

/* [2001:db8::7] or [2001:db8::7]:4711 */
static struct ip_address bracketed_address(struct span node)
{
    const char       *end = memchr(node.at, ']', node.len);
    struct ip_address address;

    if (end == NULL)
        return IP_UNKNOWN;
    struct span inner  = span_of(node.at + 1, (size_t)(end - node.at) - 1);
    struct span behind = span_skip(node, inner.len + 2);
    bool is_fine = behind.len == 0 || (behind.at[0] == ':' && node_port_is_fine(span_skip(behind, 1)));
    return is_fine && ip_read(inner, &address) ? address : IP_UNKNOWN;
}

/* 192.0.2.7, 192.0.2.7:4711, [2001:db8::7], [2001:db8::7]:4711; some proxies leave the brackets out, but never with a port. */
static struct ip_address node_address(struct span node)
{
    struct ip_address address;
    struct span       rest = node, host = node;

    if (node.len > 0 && node.at[0] == '[')
        return bracketed_address(node);
    if (ip_read(node, &address))
        return address;
    if (!span_cut(&rest, ':', &host) || !node_port_is_fine(rest) || !ip_read(host, &address))
        return IP_UNKNOWN;
    return address;
}

static enum forwarded_proto proto_of(struct span text)
{
    if (span_eq_nocase(text, SPAN("https")) || span_eq_nocase(text, SPAN("wss")))
        return FORWARDED_PROTO_SECRET;
    if (span_eq_nocase(text, SPAN("http")) || span_eq_nocase(text, SPAN("ws")))
        return FORWARDED_PROTO_PLAIN;
    return FORWARDED_PROTO_UNKNOWN;
}

/* --- Forwarded --------------------------------------------------------------------------------------------------- */

enum { VALUE_BYTES_MAX = 256 };  /* of a quoted value, without its quotes: what is longer is no address */

static struct span skip_blanks(struct span text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t'))
        text = span_skip(text, 1);
    return text;
}

/* RFC 9110 5.6.4. The value in `scratch`, and `*rest` behind it. False: it has no end, or it is too long. */
static bool quoted_take(struct span *rest, char scratch[VALUE_BYTES_MAX], struct span *ret_value)
{
    size_t len = 0;

    for (size_t i = 1; i < rest->len; i++) {
        char byte = rest->at[i];
        if (byte == '"') {
            *ret_value = span_of(scratch, len);
            *rest      = span_skip(*rest, i + 1);
            return true;
        }
        if (byte == '\\' && ++i < rest->len)
            byte = rest->at[i];
        if (len == VALUE_BYTES_MAX)
            return false;
        scratch[len++] = byte;
    }
    return false;
}

static bool ends_value(char byte)
{
    return byte == ',' || byte == ';' || byte == ' ' || byte == '\t';
}

/* A token; and addresses that some proxies don't quote, though RFC 7239 6 says that they have to. */
static void bare_take(struct span *rest, struct span *ret_value)
{
    size_t len = 0;

    while (len < rest->len && !ends_value(rest->at[len]))
        len++;
    *ret_value = span_of(rest->at, len);
    *rest      = span_skip(*rest, len);
}

/* NAME=VALUE, with no spaces around the `=` (RFC 7239 4). False: it is none. */
static bool parameter_take(struct span *rest, char scratch[VALUE_BYTES_MAX], struct span *ret_name, struct span *ret_value)
{
    if (!span_cut(rest, '=', ret_name) || !request_is_token(*ret_name) || rest->len == 0)
        return false;
    if (rest->at[0] == '"')
        return quoted_take(rest, scratch, ret_value);
    bare_take(rest, ret_value);
    return ret_value->len > 0;
}

struct hop_names {
    bool has_for, has_proto;
};

/* False: a name stands twice (RFC 7239 4). */
static bool hop_take(struct forwarded_hop *hop, struct hop_names *names, struct span name, struct span value)
{
    if (span_eq_nocase(name, SPAN("for"))) {
        if (names->has_for)
            return false;
        names->has_for = true;
        hop->address   = node_address(value);
    } else if (span_eq_nocase(name, SPAN("proto"))) {
        if (names->has_proto)
            return false;
        names->has_proto = true;
        hop->proto       = proto_of(value);
    }
    return true;
}

/* One hop: pairs with semicolons between; *rest is behind it, at a comma or at the end. False: it is broken. */
static bool forwarded_hop_take(struct span *rest, struct forwarded_hop *hop)
{
    struct hop_names names = { false, false };
    struct span      name, value;
    char             scratch[VALUE_BYTES_MAX];

    for (;;) {
        *rest = skip_blanks(*rest);
        if (!parameter_take(rest, scratch, &name, &value) || !hop_take(hop, &names, name, value))
            return false;
        *rest = skip_blanks(*rest);
        if (rest->len == 0 || rest->at[0] == ',')
            return true;
        if (rest->at[0] != ';')
            return false;
        *rest = span_skip(*rest, 1);
        if (skip_blanks(*rest).len == 0)
            return true;
    }
}

/* RFC 9110 5.6.1: empty elements of a list say nothing. */
static struct span skip_empty(struct span text)
{
    while (text = skip_blanks(text), text.len > 0 && text.at[0] == ',')
        text = span_skip(text, 1);
    return text;
}

static void walk_forwarded(struct forwarded_walk *walk, struct span value)
{
    value = skip_empty(value);
    while (value.len > 0) {
        struct forwarded_hop hop = { IP_UNKNOWN, FORWARDED_PROTO_UNKNOWN };
        if (!forwarded_hop_take(&value, &hop)) {
            walk_break(walk);  /* where the next hop begins can't be known */
            return;
        }
        walk_hop(walk, &hop);
        value = skip_empty(value);
    }
}

/* --- X-Forwarded-For --------------------------------------------------------------------------------------------- */

static void walk_x_forwarded_for(struct forwarded_walk *walk, struct span value)
{
    struct span node;

    while (span_cut(&value, ',', &node))
        walk_hop(walk, &(struct forwarded_hop){ node_address(span_trim(node)), FORWARDED_PROTO_UNKNOWN });
}

/* The last of a list, or the one that stands `behind` places before it. */
static struct span list_from_right(struct span list, size_t behind)
{
    size_t count = 1;

    for (size_t i = 0; i < list.len; i++)
        count += list.at[i] == ',';
    if (behind >= count)
        return SPAN("");
    struct span element = SPAN("");
    for (size_t left = count - behind; left > 0; left--)
        if (!span_cut(&list, ',', &element))
            element = list;  /* empty, behind the last comma */
    return span_trim(element);
}

/* One value is that of the client; of several, the one in the place of the client's address counts. */
static enum forwarded_proto x_forwarded_proto(const struct request_head *head, size_t behind)
{
    struct span value = request_field(head, SPAN("x-forwarded-proto"));

    if (value.at == NULL)
        return FORWARDED_PROTO_UNKNOWN;
    bool is_list = memchr(value.at, ',', value.len) != NULL;
    return proto_of(list_from_right(value, is_list ? behind : 0));
}

/* --- either ------------------------------------------------------------------------------------------------------ */

static void walk_fields(struct forwarded_walk *walk, const struct request_head *head, struct span name,
                        void (*each)(struct forwarded_walk *walk, struct span value))
{
    for (size_t i = 0; i < head->field_count; i++)
        if (span_eq_nocase(head->fields[i].name, name))
            each(walk, head->fields[i].value);
}

struct forwarded forwarded_read(const struct request_head *head, const struct ip_ranges *trusted)
{
    struct forwarded_walk walk = { .trusted = trusted };

    if (request_field(head, SPAN("forwarded")).at != NULL) {
        walk_fields(&walk, head, SPAN("forwarded"), walk_forwarded);
        return walk.found;
    }
    walk_fields(&walk, head, SPAN("x-forwarded-for"), walk_x_forwarded_for);
    walk.found.proto = x_forwarded_proto(head, walk.seen - walk.found_at);
    return walk.found;
}
