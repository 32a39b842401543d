#include "settings/section_hook.h"

#include "base/must.h"
#include "settings/url_list.h"

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

static bool headers_take(struct hook_section *hook, struct span list, struct buf *why)
{
    struct span name;

    while (span_cut(&list, ',', &name)) {
        name = span_trim(name);
        if (!header_name_is_plain(name, HOOK_HEADER_BYTES_MAX)) {
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

bool hook_section_close(struct settings *settings, const struct hook_draft *draft, unsigned seen, struct buf *why)
{
    struct hook_section hook = { .is_there  = true,
                                 .timeout_s = (seen & 1u << TIMEOUT) != 0 ? draft->timeout_s : TIMEOUT_S_DEFAULT };

    if ((seen & 1u << URL) == 0 || !url_is_http(span_str(draft->url))) {
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
