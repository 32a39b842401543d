/* print.h - how entries of a log look on standard output.
 *
 * json: the object as the server sent it, a line each. text on a terminal: `channel  seq  date time  payload`, with
 * control characters made visible, because a payload must not control a terminal. text into a pipe or file: the
 * payload's bytes and a newline, nothing else but the channel and a tab if several are followed. A template: a line as
 * the user wants it, on a terminal with the same care. But for json, what is not a message (gap, recall, control) is
 * said on standard error. */
#ifndef LONGWIRE_PRINT_H
#define LONGWIRE_PRINT_H

#include "longwire/fields.h"
#include "longwire/template.h"

enum format { FORMAT_TEXT, FORMAT_JSON, FORMAT_TEMPLATE };

enum { ENTRY_BYTES_MAX = 64 * 1024 * 1024 };  /* as JSON; a longer one is a fault */

/* CONTROL: another object with a place in a channel, such as a membership or the response to a request. */
enum entry_type { ENTRY_MESSAGE, ENTRY_GAP, ENTRY_RECALL, ENTRY_CONTROL, ENTRY_ERROR, ENTRY_OTHER };

enum {
    FIELD_TYPE, FIELD_CHANNEL, FIELD_SEQ, FIELD_TIME, FIELD_MEDIA, FIELD_DATA, FIELD_BASE64, FIELD_CURSOR,
    FIELD_TARGET, FIELD_FROM, FIELD_TO, FIELD_WHY, FIELD_RECALLED, FIELD_EPOCH, FIELD_ID, FIELD_EVENT, FIELD_COUNT
};

/* Borrows from the line it was read from and from the reader's buffer. */
struct entry_view {
    enum entry_type   type;
    struct span       line;
    struct field      at[FIELD_COUNT];
};

/* False: not a JSON object. `decoded` as in fields_read(). */
bool entry_read(struct span line, struct buf *decoded, struct entry_view *ret);

/* Its place in the channel: the seq of a message, a recall or a control message, the `from` of a gap; 0 if there is none. */
uint64_t entry_first_seq(const struct entry_view *entry);

/* Where reading on begins: the seq of a message, a recall or a control message, the `to` of a gap; 0 if there is none. */
uint64_t entry_last_seq(const struct entry_view *entry);

struct printer {
    enum format     format;
    struct template template;
    bool            is_tty;
    bool            shows_channel;  /* text into a pipe: the channel's name stands before each message */
    int             error;          /* errno of the first write that failed; 0: none did */
    struct buf      scratch;
};

/* False if `text` is neither "text" nor "json"; the reason has been printed. */
bool format_parse(const char *text, enum format *ret);

void printer_init(struct printer *printer);
void printer_fini(struct printer *printer);

/* "text", "json", or a template with fields of a message. False: the reason has been printed. */
bool printer_take_format(struct printer *printer, const char *text);

/* The same for objects of another kind, whose fields are `names`. */
bool printer_take_template(struct printer *printer, const char *text, const char *const *names, size_t count);

/* Messages, recalls, control messages and gaps; others are passed over. */
void printer_put(struct printer *printer, const struct entry_view *entry);

/* Any text, as it is. */
void printer_write(struct printer *printer, struct span text);

enum printed {
    PRINTED,
    PRINTED_CLOSED,  /* the reader has gone (EPIPE): exit without a message */
    PRINTED_FAILED,  /* it can't be written; the reason has been printed */
};

/* Writes out what has been put. */
enum printed printer_flush(struct printer *printer);

/* Prints one text, and gives the exit status of a command that has nothing else to say. */
int print_once(struct span text);

/* `text`, with all that could control a terminal written as \xNN. */
void put_visible(struct buf *buf, struct span text);

#endif
