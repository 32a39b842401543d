#include "settings/section_hook.h"

#include "base/must.h"

enum { TIMEOUT_S_DEFAULT = 5, TIMEOUT_S_MOST = 30 };

enum { URL, TIMEOUT, HEADERS };

#define AT(member) offsetof(struct hook_draft, member)
const struct value_row hook_rows[HOOK_ROW_COUNT] = {
    [URL] = { "url", VALUE_TEXT, AT(url), .max = HOOK_URL_BYTES_MAX,
              .help = "The address that is asked, by POST; https:// or http://. It must be there. Redirects are not "
                      "followed." },
    [TIMEOUT] = { "timeout_s", VALUE_SECONDS, AT(timeout_s), .min = 1, .max = TIMEOUT_S_MOST,
                  .help = "How long the whole call may take; above it the client is answered 503. Default 5s." },
    [HEADERS] = { "headers", VALUE_TEXT, AT(headers), .max = HOOK_HEADERS_BYTES_MAX,
                  .help = "Headers of the client's request that are passed on, with commas between, such as Cookie. At most "
                          "16. Others are not." },
};
#undef AT

static bool is_token_char(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') || byte == '-' ||
           byte == '_';
}

static bool header_name_is_valid(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_token_char(name.at[i]))
            return false;
    return name.len > 0 && name.len <= HOOK_HEADER_BYTES_MAX;
}

static bool headers_take(struct hook_section *hook, struct span list, struct buf *why)
{
    struct span name;

    while (span_cut(&list, ',', &name)) {
        name = span_trim(name);
        if (!header_name_is_valid(name)) {
            buf_putf(why, "headers: a name is 1 to %d letters, digits, - and _", HOOK_HEADER_BYTES_MAX);
            return false;
        }
        if (hook->header_count == HOOK_HEADERS_MAX) {
            buf_putf(why, "headers: there may be at most %d", HOOK_HEADERS_MAX);
            return false;
        }
        memcpy(hook->headers[hook->header_count++], name.at, name.len);
    }
    return true;
}

/* Is it http or https, with a host, and without anything that a line can't hold? */
static bool url_is_valid(struct span url)
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

bool hook_section_close(struct settings *settings, const struct hook_draft *draft, unsigned seen, struct buf *why)
{
    struct hook_section hook = { .is_there  = true,
                                 .timeout_s = (seen & 1u << TIMEOUT) != 0 ? draft->timeout_s : TIMEOUT_S_DEFAULT };

    if ((seen & 1u << URL) == 0 || !url_is_valid(span_str(draft->url))) {
        buf_put_lit(why, "url must be there, and begin with https:// or http:// and a host");
        return false;
    }
    memcpy(hook.url, draft->url, strlen(draft->url));
    if ((seen & 1u << HEADERS) != 0 && !headers_take(&hook, span_str(draft->headers), why))
        return false;
    settings->hook = hook;
    return true;
}

void hook_section_print(const struct settings *settings, struct buf *out)
{
    const struct hook_section *hook = &settings->hook;

    if (!hook->is_there)
        return;
    buf_putf(out, "\n[connect_hook]\nurl = %s\ntimeout_s = %lld\n", hook->url, (long long)hook->timeout_s);
    for (size_t i = 0; i < hook->header_count; i++)
        buf_putf(out, "%s%s", i == 0 ? "headers = " : ", ", hook->headers[i]);
    if (hook->header_count > 0)
        buf_putc(out, '\n');
}

bool hook_is_like(const struct hook_section *one, const struct hook_section *other)
{
    if (one->is_there != other->is_there || one->timeout_s != other->timeout_s || strcmp(one->url, other->url) != 0 ||
        one->header_count != other->header_count)
        return false;
    for (size_t i = 0; i < one->header_count; i++)
        if (strcmp(one->headers[i], other->headers[i]) != 0)
            return false;
    return true;
}
