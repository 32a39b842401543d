/* The configuration file. inih reads comments and `name = value`. The rest is done here: line numbers, headings
 * (inih does not report an empty section), the length of lines, and that one fault does not hide another. */
#include <ini.h>

#include "base/must.h"
#include "settings/config_priv.h"
#include "settings/section.h"

enum {
    LINE_BYTES_MAX = 8 * 1024,
    INIH_ROOM      = 3,   /* what inih adds to a line: CR, LF and NUL */
    FAULTS_MAX     = 20,  /* then reading stops */
    WHY_BYTES_MAX  = 2048,
};

struct reading {
    struct settings *settings;
    const char      *path;
    struct span      rest;
    unsigned         line;
    unsigned         faults;
    unsigned         section_line;
    struct section   section;
    bool             is_seen[SETTING_COUNT];
    struct buf       why;
    struct buf      *say;
};

static void fault(struct reading *reading, unsigned line, struct span name, struct span what)
{
    buf_putf(reading->say, "%s:%u: ", reading->path, line);
    if (name.len > 0) {
        config_say_name(reading->say, name);
        buf_put_lit(reading->say, ": ");
    }
    buf_put(reading->say, what);
    buf_putc(reading->say, '\n');
    reading->faults++;
    buf_clear(&reading->why);
}

static void section_end(struct reading *reading)
{
    if (!section_close(&reading->section, &reading->why))
        fault(reading, reading->section_line, SPAN(""), buf_span(&reading->why));
}

/* "[key app]", perhaps with a comment behind it. */
static void heading_take(struct reading *reading, struct span line)
{
    struct span rest = span_skip(line, 1), heading;
    section_end(reading);
    reading->section_line = reading->line;

    bool is_closed = memchr(line.at, ']', line.len) != NULL && span_cut(&rest, ']', &heading);
    rest           = span_trim(rest);
    if (!is_closed || (rest.len > 0 && rest.at[0] != ';' && rest.at[0] != '#')) {
        reading->section.kind = SECTION_BROKEN;
        fault(reading, reading->line, SPAN(""), SPAN("a section's heading must be " SECTIONS_TEXT("or")));
        return;
    }
    if (!section_open(&reading->section, span_trim(heading), &reading->why))
        fault(reading, reading->line, span_trim(heading), buf_span(&reading->why));
}

/* Is this a line that inih should read? Headings, and what can't be a line, are handled here. */
static bool line_is_for_inih(struct reading *reading, struct span line)
{
    if (line.len > LINE_BYTES_MAX) {
        fault(reading, reading->line, SPAN(""), SPAN("a line may be at most 8192 bytes long"));
        return false;
    }
    if (line.len > 0 && memchr(line.at, '\0', line.len) != NULL) {
        fault(reading, reading->line, SPAN(""), SPAN("a line must be text; this one has a NUL byte"));
        return false;
    }
    if (span_starts(line, SPAN("["))) {
        heading_take(reading, line);
        return false;
    }
    return true;
}

/* Cuts off a comment: # or ; behind a blank or behind the sign between name and value. inih knows only ; and only
 * behind a blank, so that `data = ./lw # mine` would name a directory. */
static struct span without_comment(struct span line)
{
    for (size_t i = 1; i < line.len; i++)
        if ((line.at[i] == '#' || line.at[i] == ';') && strchr(" \t=:", line.at[i - 1]) != NULL)
            return span_trim(span_head(line, i));
    return line;
}

/* The ini_reader: one line for each call, so that its number is always known; NULL at the end. Indentation is removed:
 * inih would append an indented line to the one before it, and a forgotten name would change another setting. */
static char *config_line_next(char *scratch, int bytes_max, void *stream)
{
    struct reading *reading = stream;
    struct span     line;

    if (reading->faults >= FAULTS_MAX || !span_cut(&reading->rest, '\n', &line))
        return NULL;
    reading->line++;
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    line = span_trim(line);
    if (!line_is_for_inih(reading, line))
        line.len = 0;
    line = without_comment(line);
    must(bytes_max > 0 && line.len < (size_t)bytes_max);
    if (line.len > 0)
        memcpy(scratch, line.at, line.len);
    scratch[line.len] = '\0';
    return scratch;
}

static void setting_take(struct reading *reading, struct span name, struct span value)
{
    enum setting setting;

    if (!setting_find(name, &setting)) {
        fault(reading, reading->line, name, SPAN("there is no such setting; longwired --help lists them all"));
        return;
    }
    if (reading->is_seen[setting]) {
        fault(reading, reading->line, name, SPAN("stands in this file twice"));
        return;
    }
    reading->is_seen[setting] = true;
    if (!settings_set(reading->settings, setting, value, &reading->why)) {
        fault(reading, reading->line, name, buf_span(&reading->why));
        return;
    }
    reading->settings->source_of[setting] = FROM_FILE;
    reading->settings->line_of[setting]   = reading->line;
}

/* The ini_handler: one `name = value`. It always returns success, so that a fault which inih reports is a broken
 * line. */
static int pair_take(void *user, const char *section, const char *name, const char *value)
{
    struct reading *reading = user;
    (void)section;  /* always empty: inih gets no headings */

    switch (reading->section.kind) {
    case SECTION_NONE:
        setting_take(reading, span_str(name), span_str(value));
        break;
    case SECTION_KEY:
    case SECTION_JWT:
    case SECTION_TICKETS:
    case SECTION_HOOK:
    case SECTION_BACKEND:
    case SECTION_UPLINK:
    case SECTION_WEBHOOK:
    case SECTION_EVENTS:
    case SECTION_TLS:
    case SECTION_NAMESPACE:
        if (!section_set(&reading->section, span_str(name), span_str(value), &reading->why))
            fault(reading, reading->line, span_str(name), buf_span(&reading->why));
        break;
    case SECTION_BROKEN:
        break;
    }
    return 1;
}

/* The options of inih are variables of its library. By default it would cut lines at 200 bytes and go on. */
static int inih_run(struct reading *reading)
{
    ini_use_stack     = false;
    ini_max_line      = LINE_BYTES_MAX + INIH_ROOM;
    ini_initial_alloc = LINE_BYTES_MAX + INIH_ROOM;
    return ini_parse_stream(config_line_next, reading, pair_take, reading);
}

static struct span without_bom(struct span text)
{
    return span_starts(text, SPAN("\xef\xbb\xbf")) ? span_skip(text, 3) : text;
}

bool config_read(struct settings *settings, const char *path, struct span text, struct buf *say)
{
    struct reading reading = { .settings = settings, .path = path, .rest = without_bom(text), .say = say };

    buf_init(&reading.why, WHY_BYTES_MAX);
    section_init(&reading.section, settings);
    int broken_line = inih_run(&reading);
    if (broken_line > 0)
        fault(&reading, (unsigned)broken_line, SPAN(""), SPAN("must be \"name = value\", a [section] or a comment"));
    else if (broken_line < 0)
        fault(&reading, reading.line, SPAN(""), SPAN("no memory to read it"));
    section_end(&reading);
    if (reading.faults >= FAULTS_MAX)
        buf_putf(say, "%s: too many faults, the rest was not read\n", path);
    section_fini(&reading.section);
    buf_fini(&reading.why);
    return reading.faults == 0;
}
