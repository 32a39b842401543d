#include "longwire/print.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/msec.h"
#include "base/utf8.h"
#include "longwire/cli.h"

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_TYPE] = "type",     [FIELD_CHANNEL] = "channel", [FIELD_SEQ] = "seq",
    [FIELD_TIME] = "time",     [FIELD_MEDIA] = "media",     [FIELD_DATA] = "data",
    [FIELD_BASE64] = "data_base64", [FIELD_CURSOR] = "cursor", [FIELD_TARGET] = "target",
    [FIELD_FROM] = "from",     [FIELD_TO] = "to",           [FIELD_WHY] = "why",
    [FIELD_RECALLED] = "recalled",
};

static enum entry_type type_of(const struct field *field)
{
    if (!field_is_string(field))
        return ENTRY_OTHER;
    if (span_eq(field->text, SPAN("message")))
        return ENTRY_MESSAGE;
    if (span_eq(field->text, SPAN("gap")))
        return ENTRY_GAP;
    if (span_eq(field->text, SPAN("recall")))
        return ENTRY_RECALL;
    return span_eq(field->text, SPAN("error")) ? ENTRY_ERROR : ENTRY_OTHER;
}

bool entry_read(struct span line, struct buf *decoded, struct entry_view *ret)
{
    struct entry_view entry = { .line = line };
    for (size_t i = 0; i < FIELD_COUNT; i++)
        entry.at[i].name = field_names[i];
    if (!fields_read(line, entry.at, FIELD_COUNT, decoded))
        return false;
    entry.type = type_of(&entry.at[FIELD_TYPE]);
    *ret       = entry;
    return true;
}

uint64_t entry_last_seq(const struct entry_view *entry)
{
    uint64_t seq = 0;
    (void)field_u64(&entry->at[entry->type == ENTRY_GAP ? FIELD_TO : FIELD_SEQ], &seq);
    return seq;
}

bool format_parse(const char *text, enum format *ret)
{
    if (span_eq(span_str(text), SPAN("json"))) {
        *ret = FORMAT_JSON;
        return true;
    }
    if (span_eq(span_str(text), SPAN("text"))) {
        *ret = FORMAT_TEXT;
        return true;
    }
    say("--format is json or text, not \"%s\"", text);
    return false;
}

void printer_init(struct printer *printer, enum format format)
{
    *printer = (struct printer){ .format = format, .is_tty = isatty(STDOUT_FILENO) == 1 };
    buf_init(&printer->scratch, (size_t)4 * ENTRY_BYTES_MAX);
}

void printer_fini(struct printer *printer)
{
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

static void put_time(struct buf *buf, const struct field *field)
{
    uint64_t  ms = 0;
    struct tm local;
    char      clock[32];

    (void)field_u64(field, &ms);
    time_t seconds = (time_t)(ms / 1000);
    if (ms == 0 || localtime_r(&seconds, &local) == NULL) {
        buf_put_lit(buf, "-");
        return;
    }
    strftime(clock, sizeof clock, "%H:%M:%S", &local);
    buf_putf(buf, "%s.%03u", clock, (unsigned)(ms % 1000));
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

static void put_message(struct printer *printer, const struct entry_view *entry)
{
    struct buf *buf = &printer->scratch;
    if (!printer->is_tty) {
        if (put_payload(buf, entry))
            buf_putc(buf, '\n');
        return;
    }
    put_visible(buf, entry->at[FIELD_CHANNEL].text);
    buf_put_lit(buf, "  ");
    put_visible(buf, entry->at[FIELD_SEQ].text);
    buf_put_lit(buf, "  ");
    put_time(buf, &entry->at[FIELD_TIME]);
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

/* --- both ------------------------------------------------------------------------------------------------------- */

void printer_write(struct printer *printer, struct span text)
{
    if (printer->error == 0 && fwrite(text.at, 1, text.len, stdout) != text.len)
        printer->error = errno;
}

void printer_put(struct printer *printer, const struct entry_view *entry)
{
    if (entry->type != ENTRY_MESSAGE && entry->type != ENTRY_GAP && entry->type != ENTRY_RECALL)
        return;
    if (printer->format == FORMAT_JSON) {
        printer_write(printer, entry->line);
        printer_write(printer, SPAN("\n"));
        return;
    }
    buf_clear(&printer->scratch);
    if (entry->type == ENTRY_MESSAGE) {
        put_message(printer, entry);
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
