#include "longwire/print.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "longwire/cli.h"
#include "longwire/duration.h"

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_TYPE] = "type",     [FIELD_CHANNEL] = "channel", [FIELD_SEQ] = "seq",
    [FIELD_TIME] = "time",     [FIELD_MEDIA] = "media",     [FIELD_DATA] = "data",
    [FIELD_BASE64] = "data_base64", [FIELD_CURSOR] = "cursor", [FIELD_TARGET] = "target",
    [FIELD_FROM] = "from",     [FIELD_TO] = "to",           [FIELD_WHY] = "why",
    [FIELD_RECALLED] = "recalled", [FIELD_EPOCH] = "epoch", [FIELD_ID] = "id",
    [FIELD_EVENT] = "event",
};

static enum entry_type type_of(const struct field *at)
{
    const struct field *field = &at[FIELD_TYPE];

    if (!field_is_string(field))
        return ENTRY_OTHER;
    if (span_eq(field->text, SPAN("message")))
        return ENTRY_MESSAGE;
    if (span_eq(field->text, SPAN("gap")))
        return ENTRY_GAP;
    if (span_eq(field->text, SPAN("recall")))
        return ENTRY_RECALL;
    if (span_eq(field->text, SPAN("error")))
        return ENTRY_ERROR;
    return at[FIELD_SEQ].is_there && at[FIELD_CHANNEL].is_there ? ENTRY_CONTROL : ENTRY_OTHER;
}

bool entry_read(struct span line, struct buf *decoded, struct entry_view *ret)
{
    struct entry_view entry = { .line = line };
    for (size_t i = 0; i < FIELD_COUNT; i++)
        entry.at[i].name = field_names[i];
    if (!fields_read(line, entry.at, FIELD_COUNT, decoded))
        return false;
    entry.type = type_of(entry.at);
    *ret       = entry;
    return true;
}

uint64_t entry_first_seq(const struct entry_view *entry)
{
    uint64_t seq = 0;
    (void)field_u64(&entry->at[entry->type == ENTRY_GAP ? FIELD_FROM : FIELD_SEQ], &seq);
    return seq;
}

uint64_t entry_last_seq(const struct entry_view *entry)
{
    uint64_t seq = 0;
    (void)field_u64(&entry->at[entry->type == ENTRY_GAP ? FIELD_TO : FIELD_SEQ], &seq);
    return seq;
}

/* --- formats ---------------------------------------------------------------------------------------------------- */

static bool format_find(const char *text, enum format *ret)
{
    bool is_json = span_eq(span_str(text), SPAN("json"));
    if (!is_json && !span_eq(span_str(text), SPAN("text")))
        return false;
    *ret = is_json ? FORMAT_JSON : FORMAT_TEXT;
    return true;
}

bool format_parse(const char *text, enum format *ret)
{
    if (format_find(text, ret))
        return true;
    say("--format is text or json here, not \"%s\"", text);
    return false;
}

bool printer_take_template(struct printer *printer, const char *text, const char *const *names, size_t count)
{
    struct buf why;

    if (format_find(text, &printer->format))
        return true;
    if (strchr(text, '{') == NULL) {
        say("--format is text, json or a template with fields such as '{%s}', not \"%s\"", names[0], text);
        return false;
    }
    buf_init(&why, (size_t)2 * TEMPLATE_BYTES_MAX);
    bool is_good = template_parse(&printer->template, span_str(text), names, count, &why);
    if (is_good)
        printer->format = FORMAT_TEMPLATE;
    else
        say("--format: %.*s", SPAN_ARG(buf_span(&why)));
    buf_fini(&why);
    return is_good;
}

void printer_init(struct printer *printer)
{
    *printer = (struct printer){ .is_tty = isatty(STDOUT_FILENO) == 1 };
    template_init(&printer->template);
    buf_init(&printer->scratch, (size_t)4 * ENTRY_BYTES_MAX);
}

void printer_fini(struct printer *printer)
{
    template_fini(&printer->template);
    buf_fini(&printer->scratch);
}

/* --- text ------------------------------------------------------------------------------------------------------- */

void put_visible(struct buf *buf, struct span text)
{
    bool is_utf8 = utf8_is_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte  = (unsigned char)text.at[i];
        /* U+0080 … U+009F are control characters too; as UTF-8 they are C2 80 … C2 9F. */
        bool          is_c1 = byte == 0xc2 && i + 1 < text.len && (unsigned char)text.at[i + 1] < 0xa0;
        if (byte == '\t' || (byte >= ' ' && byte < 0x7f) || (byte >= 0x80 && is_utf8 && !is_c1)) {
            buf_putc(buf, (char)byte);
        } else {
            buf_putf(buf, "\\x%02x", byte);
            if (is_c1 && is_utf8)
                buf_putf(buf, "\\x%02x", (unsigned char)text.at[++i]);
        }
    }
}

/* The bytes that were published; false: there are none to show (recalled, or not what was promised). */
static bool put_payload(struct buf *buf, const struct entry_view *entry)
{
    const struct field *base64 = &entry->at[FIELD_BASE64];
    if (field_is_string(base64))
        return base64_get(base64->text, buf);
    if (!entry->at[FIELD_DATA].is_there)
        return false;
    buf_put(buf, entry->at[FIELD_DATA].text);
    return true;
}

static void put_tty_payload(struct buf *buf, const struct entry_view *entry)
{
    struct buf payload;
    buf_init(&payload, ENTRY_BYTES_MAX);
    if (!put_payload(&payload, entry)) {
        buf_put_lit(buf, "(recalled)");
    } else if (!utf8_is_valid(buf_span(&payload))) {
        buf_putf(buf, "(%zu bytes of ", payload.len);
        put_visible(buf, entry->at[FIELD_MEDIA].text);
        buf_putc(buf, ')');
    } else {
        put_visible(buf, buf_span(&payload));
    }
    buf_fini(&payload);
}

static uint64_t time_of(const struct entry_view *entry)
{
    uint64_t ms = 0;
    (void)field_u64(&entry->at[FIELD_TIME], &ms);
    return ms;
}

static void put_piped_message(struct printer *printer, const struct entry_view *entry)
{
    struct buf *buf = &printer->scratch;
    if (printer->shows_channel) {
        buf_put(buf, entry->at[FIELD_CHANNEL].text);
        buf_putc(buf, '\t');
    }
    if (put_payload(buf, entry))
        buf_putc(buf, '\n');
    else
        buf_clear(buf);
}

static void put_message(struct printer *printer, const struct entry_view *entry)
{
    struct buf *buf = &printer->scratch;
    put_visible(buf, entry->at[FIELD_CHANNEL].text);
    buf_put_lit(buf, "  ");
    put_visible(buf, entry->at[FIELD_SEQ].text);
    buf_put_lit(buf, "  ");
    moment_put_local(buf, time_of(entry));
    buf_put_lit(buf, "  ");
    put_tty_payload(buf, entry);
    buf_putc(buf, '\n');
}

static void say_note(struct printer *printer, const struct entry_view *entry)
{
    struct buf *buf = &printer->scratch;
    put_visible(buf, entry->at[FIELD_CHANNEL].text);
    if (entry->type == ENTRY_RECALL) {
        buf_put_lit(buf, ": message ");
        put_visible(buf, entry->at[FIELD_TARGET].text);
        buf_put_lit(buf, " was recalled");
    } else if (entry->type == ENTRY_CONTROL) {
        buf_put_lit(buf, ": ");
        put_visible(buf, entry->at[FIELD_SEQ].text);
        buf_put_lit(buf, " is a control message: ");
        put_visible(buf, entry->at[FIELD_TYPE].text);
    } else {
        buf_put_lit(buf, ": gap: ");
        put_visible(buf, entry->at[FIELD_FROM].text);
        buf_put_lit(buf, " to ");
        put_visible(buf, entry->at[FIELD_TO].text);
        buf_put_lit(buf, " can't be had (");
        put_visible(buf, entry->at[FIELD_WHY].text);
        buf_putc(buf, ')');
    }
    say("%.*s", SPAN_ARG(buf_span(buf)));
}

/* --- templates -------------------------------------------------------------------------------------------------- */

enum {
    SHOWN_SEQ, SHOWN_CHANNEL, SHOWN_EPOCH, SHOWN_ID, SHOWN_TIME, SHOWN_DATE, SHOWN_UTC, SHOWN_FROM, SHOWN_EVENT,
    SHOWN_MEDIA, SHOWN_DATA, SHOWN_BASE64, SHOWN_SIZE, SHOWN_CURSOR, SHOWN_JSON, SHOWN_COUNT
};

/* What a template may name. Those with a member are what the server sent, as text. */
static const struct { const char *name; int member; } shown_fields[SHOWN_COUNT] = {
    [SHOWN_SEQ]     = { "seq", FIELD_SEQ },         [SHOWN_CHANNEL] = { "channel", FIELD_CHANNEL },
    [SHOWN_EPOCH]   = { "epoch", FIELD_EPOCH },     [SHOWN_ID]      = { "id", FIELD_ID },
    [SHOWN_TIME]    = { "time", FIELD_TIME },       [SHOWN_DATE]    = { "date", -1 },
    [SHOWN_UTC]     = { "utc", -1 },                [SHOWN_FROM]    = { "from", FIELD_FROM },
    [SHOWN_MEDIA]   = { "media", FIELD_MEDIA },     [SHOWN_DATA]    = { "data", -1 },
    [SHOWN_BASE64]  = { "base64", -1 },             [SHOWN_SIZE]    = { "size", -1 },
    [SHOWN_CURSOR]  = { "cursor", FIELD_CURSOR },   [SHOWN_JSON]    = { "json", -1 },
    [SHOWN_EVENT]   = { "event", FIELD_EVENT },
};

bool printer_take_format(struct printer *printer, const char *text)
{
    const char *names[SHOWN_COUNT];
    for (size_t i = 0; i < SHOWN_COUNT; i++)
        names[i] = shown_fields[i].name;
    return printer_take_template(printer, text, names, SHOWN_COUNT);
}

struct shown {
    const struct printer    *printer;
    const struct entry_view *entry;
};

static void put_payload_as(const struct shown *shown, int field, struct buf *buf)
{
    struct buf payload;
    buf_init(&payload, ENTRY_BYTES_MAX);
    bool is_there = put_payload(&payload, shown->entry);
    if (field == SHOWN_SIZE)
        buf_putf(buf, "%zu", payload.len);
    else if (field == SHOWN_BASE64)
        base64_put(buf, buf_span(&payload));
    else if (shown->printer->is_tty)
        put_tty_payload(buf, shown->entry);
    else if (is_there)
        buf_put(buf, buf_span(&payload));
    buf_fini(&payload);
}

/* What the server sent goes to a terminal with its control characters made visible. */
static void put_shown(const struct printer *printer, struct span text, struct buf *buf)
{
    if (printer->is_tty)
        put_visible(buf, text);
    else
        buf_put(buf, text);
}

static void shown_put(const void *arg, int field, struct buf *buf)
{
    const struct shown *shown  = arg;
    int                 member = shown_fields[field].member;

    if (member >= 0) {
        if (shown->entry->at[member].is_there && shown->entry->at[member].type != JSON_NULL)
            put_shown(shown->printer, shown->entry->at[member].text, buf);
        return;
    }
    switch (field) {
    case SHOWN_DATE: moment_put_local(buf, time_of(shown->entry)); break;
    case SHOWN_UTC: moment_put_utc(buf, time_of(shown->entry)); break;
    case SHOWN_JSON: put_shown(shown->printer, shown->entry->line, buf); break;
    default: put_payload_as(shown, field, buf); break;
    }
}

static void put_templated(struct printer *printer, const struct entry_view *entry)
{
    struct shown shown = { .printer = printer, .entry = entry };
    template_put(&printer->template, shown_put, &shown, &printer->scratch);
    buf_putc(&printer->scratch, '\n');
}

/* --- all ------------------------------------------------------------------------------------------------------ */

void printer_write(struct printer *printer, struct span text)
{
    if (text.len > 0 && printer->error == 0 && fwrite(text.at, 1, text.len, stdout) != text.len)
        printer->error = errno;
}

void printer_put(struct printer *printer, const struct entry_view *entry)
{
    if (entry->type == ENTRY_ERROR || entry->type == ENTRY_OTHER)
        return;
    if (printer->format == FORMAT_JSON) {
        printer_write(printer, entry->line);
        printer_write(printer, SPAN("\n"));
        return;
    }
    buf_clear(&printer->scratch);
    if (entry->type == ENTRY_MESSAGE) {
        if (printer->format == FORMAT_TEMPLATE)
            put_templated(printer, entry);
        else if (printer->is_tty)
            put_message(printer, entry);
        else
            put_piped_message(printer, entry);
        printer_write(printer, buf_span(&printer->scratch));
    } else {
        say_note(printer, entry);
    }
}

enum printed printer_flush(struct printer *printer)
{
    if (printer->error == 0 && fflush(stdout) != 0)
        printer->error = errno;
    if (printer->error == 0)
        return PRINTED;
    if (printer->error == EPIPE)
        return PRINTED_CLOSED;
    say("can't write to standard output: %s", strerror(printer->error));
    return PRINTED_FAILED;
}

int print_once(struct span text)
{
    struct printer printer;
    printer_init(&printer);
    printer_write(&printer, text);
    int exit_code = printer_flush(&printer) == PRINTED_FAILED ? EXIT_REFUSED : EXIT_FINE;
    printer_fini(&printer);
    return exit_code;
}
