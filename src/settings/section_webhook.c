#include "settings/section_webhook.h"

#include "base/must.h"
#include "settings/secret_file.h"
#include "settings/url_list.h"

enum {
    TIMEOUT_S_DEFAULT   = 10,
    TIMEOUT_S_MOST      = 600,
    RETRY_FOR_S_DEFAULT = 24 * 3600,
    RETRY_FOR_S_MOST    = 30 * 24 * 3600,
    BATCH_DEFAULT       = 100,
    BATCH_MOST          = 1000,
};

#define KINDS "connected, disconnected, subscribed, unsubscribed, joined, left, occupied, vacated, acknowledged, offline"

#define AT(member) offsetof(struct webhook_draft, member)
const struct value_row webhook_rows[WEBHOOK_ROW_COUNT] = {
    { "url", VALUE_TEXT, AT(url), .max = WEBHOOK_URL_BYTES_MAX,
      .help = "Where its events are sent, by POST; https:// or http://. It must be there. Redirects are not followed." },
    { "events", VALUE_TEXT, AT(events), .max = EVENTS_BYTES_MAX,
      .help = "The kinds that it wants, with commas between, of " KINDS ". It must be there." },
    { "secret", VALUE_TEXT, AT(secret), .max = KEY_SECRET_BYTES_MAX,
      .help = "What signs each call (Longwire-Signature). 16 to 128 letters, digits and -._~+/=. This or secret_file must be "
              "there." },
    { "secret_file", VALUE_TEXT, AT(secret_file), .max = SECRET_FILE_BYTES_MAX,
      .help = "In place of secret: the absolute path of a file whose first line is the secret. It is read at the start and "
              "at each reload." },
    { "timeout_s", VALUE_SECONDS, AT(timeout_s), .min = 1, .max = TIMEOUT_S_MOST,
      .help = "How long a whole call may take; above it it has failed. Default 10s." },
    { "retry_for_s", VALUE_SECONDS, AT(retry_for_s), .min = 1, .max = RETRY_FOR_S_MOST,
      .help = "How long events are sent again that are not taken, in their order; then they go to sys:dead. Default 1d." },
    { "batch", VALUE_COUNT, AT(batch), .min = 1, .max = BATCH_MOST, .help = "Most events in one call. Default 100." },
};
#undef AT

const struct value_row events_rows[EVENTS_ROW_COUNT] = {
    { "keep", VALUE_TEXT, offsetof(struct events_draft, keep), .max = EVENTS_BYTES_MAX,
      .help = "The kinds that are written to sys:events/N although no webhook wants them, with commas between, of " KINDS "." },
};

bool webhook_section_open(const struct settings *settings, struct span name, struct webhook_draft *ret, struct buf *why)
{
    *ret = (struct webhook_draft){
        .timeout_s = TIMEOUT_S_DEFAULT, .retry_for_s = RETRY_FOR_S_DEFAULT, .batch = BATCH_DEFAULT,
    };
    for (size_t i = 0; i < settings->webhook_count; i++)
        if (span_eq(span_str(settings->webhooks[i].name), name)) {
            buf_put_lit(why, "this webhook has a section already");
            return false;
        }
    if (settings->webhook_count == WEBHOOKS_MAX)
        buf_putf(why, "there may be at most %d webhooks", WEBHOOKS_MAX);
    return settings->webhook_count < WEBHOOKS_MAX;
}

/* --- closing ------------------------------------------------------------------------------------------------- */

/* 0: `why` says what is wrong. An empty list might be meant to be all, or none. */
static unsigned kinds_read(const char *line, struct span list, struct buf *why)
{
    struct span     word;
    enum event_kind kind;
    unsigned        kinds = 0;

    while (span_cut(&list, ',', &word)) {
        if (!event_kind_find(span_trim(word), &kind)) {
            buf_putf(why, "%s must be some of " KINDS ", with commas between", line);
            return 0;
        }
        kinds |= (unsigned)kind;
    }
    if (kinds == 0)
        buf_putf(why, "%s must be there: some of " KINDS ", with commas between", line);
    return kinds;
}

/* From its line or from its file into the draft. */
static bool webhook_secret_find(struct webhook_draft *draft, struct buf *why)
{
    bool has_file = draft->secret_file[0] != '\0';

    if (has_file && draft->secret[0] != '\0') {
        buf_put_lit(why, "there is a secret and a secret_file; keep one of them");
        return false;
    }
    if (has_file && secret_file_path_is_valid(span_str(draft->secret_file)))
        return secret_file_read(draft->secret_file, draft->secret, why);
    if (!has_file && secret_is_valid(span_str(draft->secret)))
        return true;
    if (has_file)
        buf_putf(why, "secret_file must be an absolute path of at most %d bytes", SECRET_FILE_BYTES_MAX);
    else
        secret_put_fault(draft->secret[0] != '\0', why);
    return false;
}

bool webhook_section_close(struct settings *settings, struct span name, struct webhook_draft *draft, struct buf *why)
{
    must(name.len <= KEY_NAME_BYTES_MAX && settings->webhook_count < WEBHOOKS_MAX);
    if (!url_is_http(span_str(draft->url)) || memchr(draft->url, '@', strlen(draft->url)) != NULL) {
        buf_put_lit(why, "url must be there, and begin with https:// or http:// and a host, without @");
        return false;
    }
    unsigned events = kinds_read("events", span_str(draft->events), why);
    if (events == 0 || !webhook_secret_find(draft, why))
        return false;

    struct webhook_section *webhook = &settings->webhooks[settings->webhook_count++];
    *webhook = (struct webhook_section){
        .events = events, .timeout_s = draft->timeout_s, .retry_for_s = draft->retry_for_s, .batch = draft->batch,
    };
    memcpy(webhook->name, name.at, name.len);
    memcpy(webhook->url, draft->url, sizeof webhook->url);
    memcpy(webhook->secret, draft->secret, sizeof webhook->secret);
    memcpy(webhook->secret_file, draft->secret_file, sizeof webhook->secret_file);
    return true;
}

unsigned settings_event_kinds(const struct settings *settings)
{
    unsigned kinds = settings->events.keep;

    for (size_t i = 0; i < settings->webhook_count; i++)
        kinds |= settings->webhooks[i].events;
    return kinds;
}

bool events_section_close(struct settings *settings, const struct events_draft *draft, struct buf *why)
{
    unsigned keep = kinds_read("keep", span_str(draft->keep), why);

    settings->events = (struct events_section){ .is_there = keep != 0, .keep = keep };
    return keep != 0;
}

/* --- printing ------------------------------------------------------------------------------------------------ */

static void kinds_print(const char *line, unsigned kinds, struct buf *out)
{
    const char *before = "";

    buf_putf(out, "%s = ", line);
    for (int i = 0; i < EVENT_KIND_COUNT; i++) {
        if ((kinds & 1u << i) == 0)
            continue;
        buf_putf(out, "%s%s", before, event_kind_name((enum event_kind)(1 << i)));
        before = ", ";
    }
    buf_putc(out, '\n');
}

void webhook_section_print(const struct webhook_section *webhook, struct buf *out)
{
    bool is_file = webhook->secret_file[0] != '\0';

    buf_putf(out, "\n[webhook %s]\nurl = ", webhook->name);
    url_put_shown(out, span_str(webhook->url));
    buf_putc(out, '\n');
    kinds_print("events", webhook->events, out);
    buf_putf(out, "secret%s = %s\n", is_file ? "_file" : "", is_file ? webhook->secret_file : "****************");
    buf_putf(out, "timeout_s = %llds\nretry_for_s = %llds\nbatch = %llu\n", (long long)webhook->timeout_s,
             (long long)webhook->retry_for_s, (unsigned long long)webhook->batch);
}

void events_section_print(const struct settings *settings, struct buf *out)
{
    if (!settings->events.is_there)
        return;
    buf_put_lit(out, "\n[events]\n");
    kinds_print("keep", settings->events.keep, out);
}
