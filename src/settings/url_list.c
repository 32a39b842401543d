#include "settings/url_list.h"

#include <ctype.h>

#define MASK "***"

/* Does a URL begin here: letters, then ://? */
static bool url_begins(struct span text)
{
    size_t at = 0;

    while (at < text.len && islower((unsigned char)text.at[at]))
        at++;
    return at > 0 && span_starts(span_skip(text, at), SPAN("://"));
}

static struct span blanks_skip(struct span text)
{
    size_t at = 0;

    while (at < text.len && isblank((unsigned char)text.at[at]))
        at++;
    return span_skip(text, at);
}

/* How long the first entry of a list is: up to a comma behind which a URL begins. */
static size_t entry_len(struct span list)
{
    for (size_t i = 0; i < list.len; i++)
        if (list.at[i] == ',' && url_begins(blanks_skip(span_skip(list, i + 1))))
            return i;
    return list.len;
}

bool url_list_next(struct span *rest, struct span *ret_url)
{
    size_t len = entry_len(*rest);

    if (rest->len == 0)
        return false;
    *ret_url = span_trim(span_head(*rest, len));
    *rest    = span_skip(*rest, len == rest->len ? len : len + 1);
    return true;
}

bool url_is_http(struct span url)
{
    struct span rest = url;

    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.at[i] <= ' ' || url.at[i] == 0x7f)
            return false;
    if (span_starts(url, SPAN("https://")))
        rest = span_skip(url, 8);
    else if (span_starts(url, SPAN("http://")))
        rest = span_skip(url, 7);
    else
        return false;
    return rest.len > 0 && rest.at[0] != '/';
}

static bool is_token_char(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '-' ||
           byte == '_';
}

bool header_name_is_plain(struct span name, size_t bytes_max)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char(name.at[i]))
            return false;
    return name.len > 0 && name.len <= bytes_max;
}

/* --- showing ------------------------------------------------------------------------------------------------- */

/* Where the value of a secret parameter begins that stands at `at`; 0: none does. */
static size_t secret_begins(struct span text, size_t at)
{
    static const struct span names[] = { SPAN("password="), SPAN("sslpassword=") };

    if (at > 0 && text.at[at - 1] != '?' && text.at[at - 1] != '&')
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (span_starts(span_skip(text, at), names[i]))
            return at + names[i].len;
    return 0;
}

static void parameters_put(struct buf *out, struct span text)
{
    for (size_t at = 0; at < text.len;) {
        size_t value = secret_begins(text, at);
        if (value == 0) {
            buf_putc(out, text.at[at++]);
            continue;
        }
        buf_put(out, span_head(span_skip(text, at), value - at));
        buf_put_lit(out, MASK);
        for (at = value; at < text.len && text.at[at] != '&';)
            at++;
    }
}

/* Of one entry: from the first colon of user and password to the last @ all is hidden. A host may have a colon, too: its
 * @ stands before that. */
static void entry_put(struct buf *out, struct span entry)
{
    const char *scheme = memmem(entry.at, entry.len, "://", 3);
    const char *at     = memrchr(entry.at, '@', entry.len);
    const char *colon  = NULL;

    if (scheme != NULL && at != NULL && at > scheme + 3)
        colon = memchr(scheme + 3, ':', (size_t)(at - scheme - 3));
    if (colon != NULL) {
        buf_put(out, span_of(entry.at, (size_t)(colon - entry.at) + 1));
        buf_put_lit(out, MASK);
        entry = span_skip(entry, (size_t)(at - entry.at));
    }
    parameters_put(out, entry);
}

void url_put_shown(struct buf *out, struct span text)
{
    while (text.len > 0) {
        size_t len = entry_len(text);
        entry_put(out, span_head(text, len));
        if (len < text.len)
            buf_putc(out, ',');
        text = span_skip(text, len == text.len ? len : len + 1);
    }
}

bool url_has_secret(struct span text)
{
    struct buf shown;

    buf_init(&shown, text.len + 4096);
    url_put_shown(&shown, text);
    bool has_secret = !span_eq(buf_span(&shown), text);
    buf_fini(&shown);
    return has_secret;
}
