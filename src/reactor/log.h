/* log.h - what the server says about itself: one structured line an event, logfmt or JSON, to one descriptor.
 *
 *     LOG(LOG_INFO, "listening", log_str("address", "127.0.0.1"), log_u64("port", 8080));
 *
 *     time=2026-03-01T12:00:00.000Z level=info event=listening address=127.0.0.1 port=8080
 *
 * A line is one write(2) of at most LOG_LINE_BYTES_MAX bytes, so lines of several threads never mix. What clients sent
 * can't forge a line, a field or a terminal command: everything that isn't plain text is escaped. One call site writes
 * at most LOG_LINES_A_SECOND_MAX lines a second, so a flood of bad clients can't fill the disk. Lines that are held
 * back are counted: the next line of the site carries `suppressed`, and log_tell_suppressed() writes it for sites that
 * fell silent. The server never waits for the reader of its log: a line that can't be written at once is lost, and
 * counted too. Never log a secret or a payload.
 *
 * For the layers 2 to 4: pure modules return their outcome, and their callers log it. Any thread may use it; signal
 * handlers may not. */
#ifndef REACTOR_LOG_H
#define REACTOR_LOG_H

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/log_level.h"
#include "base/msec.h"

enum {
    LOG_LINE_BYTES_MAX     = 4096,  /* PIPE_BUF on Linux: a pipe takes such a line whole */
    LOG_VALUE_BYTES_MAX    = 512,   /* of one text, before escaping; a longer one is cut and ends in "..." */
    LOG_LINES_A_SECOND_MAX = 10,    /* of one call site */
    LOG_FIELDS_MAX         = 24,    /* of one line, the event included */
};

enum log_kind { LOG_TEXT, LOG_U64, LOG_I64 };

/* Borrows its texts until LOG() returns. `name` is ours, [a-z_]+, never a stranger's. */
struct log_field {
    const char   *name;
    enum log_kind kind;
    union {
        struct span text;
        uint64_t    u64;
        int64_t     i64;
    };
};

/* Where a LOG() stands and how much it has said lately. Zeroed at first; owned by the log from then on. */
struct log_site {
    struct list link;
    const char *event;
    msec        second_at;   /* when its present second began */
    unsigned    written;     /* lines in that second */
    uint64_t    suppressed;  /* lines held back and not yet reported */
};

/* Nothing is evaluated or formatted when the level is off. `event` is a literal, [a-z_]+. */
#define LOG(level, event, ...)                                                                             \
    do {                                                                                                   \
        if (log_is_on(level)) {                                                                            \
            static struct log_site log_site_;                                                              \
            const struct log_field log_fields_[] = { log_str("event", event), ##__VA_ARGS__ };             \
            enum { LOG_FIELDS_ = sizeof log_fields_ / sizeof log_fields_[0] };                             \
            _Static_assert((int)LOG_FIELDS_ <= (int)LOG_FIELDS_MAX, "too many fields for one line");       \
            log_write(&log_site_, (level), log_fields_, LOG_FIELDS_);                                      \
        }                                                                                                  \
    } while (0)

static inline struct log_field log_span(const char *name, struct span text)
{
    return (struct log_field){ .name = name, .kind = LOG_TEXT, .text = text };
}

static inline struct log_field log_str(const char *name, const char *text)
{
    return log_span(name, span_str(text));
}

static inline struct log_field log_u64(const char *name, uint64_t value)
{
    return (struct log_field){ .name = name, .kind = LOG_U64, .u64 = value };
}

static inline struct log_field log_i64(const char *name, int64_t value)
{
    return (struct log_field){ .name = name, .kind = LOG_I64, .i64 = value };
}

/* error="Connection reset by peer", from an errno. */
struct log_field log_errno(int error);

/* Once, before other threads start: from then on format and descriptor stay. Until then only warnings and errors
 * go out, as logfmt to standard error. `fd` stays the caller's. */
void log_init(enum log_level least, enum log_format format, int fd);

/* At any time, by the thread that called log_init(). */
void log_set_level(enum log_level least);

/* Writes a line for each call site that held something back and whose second is over. Call it about once a
 * second, and at the end. */
void log_tell_suppressed(void);

/* Lines that the descriptor didn't take since the start. Only a metric can report them. */
uint64_t log_lost(void);

/* "debug", "info", "warn", "error" */
const char *log_level_text(enum log_level level);

/* LOG() calls this. The first field is the event. */
extern struct counter log_level_least;
static inline bool log_is_on(enum log_level level)
{
    return (uint64_t)level >= counter_get(&log_level_least);
}
void log_write(struct log_site *site, enum log_level level, const struct log_field *fields, size_t count);

/* The two decisions of the log, pure, so that they can be tested. log_site_pass: may this site write now (monotonic)?
 * *ret_suppressed: how many lines it held back before this one. log_line_put: one whole line with its newline. Fields
 * that would not fit are left out, and `cut=true` says so. `line` has room for LOG_LINE_BYTES_MAX bytes and is
 * empty. */
bool log_site_pass(struct log_site *site, msec now, uint64_t *ret_suppressed);
void log_line_put(struct buf *line, enum log_format format, enum log_level level, msec wall,
                  const struct log_field *fields, size_t count);

#endif
