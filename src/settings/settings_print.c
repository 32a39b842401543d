/* Settings for people: --help, a configuration file, the reference, what is in force. */
#include "settings/section.h"
#include "settings/settings_priv.h"
#include "settings/url_list.h"

enum { WIDTH = 100 };

/* The order of settings.def, titles among the settings. */
static const struct {
    const char  *title;  /* or NULL */
    enum setting setting;
} entries[] = {
#define GROUP(title) { title, SETTING_COUNT },
#define SETTING(name, takes) { NULL, SETTING_##name },
#include "settings/settings.def"
};

enum { ENTRY_COUNT = sizeof entries / sizeof entries[0] };

/* Words of `text` in lines of at most WIDTH, each line begun with `head`. */
static void wrapped_put(struct buf *out, const char *head, const char *text)
{
    struct span rest = span_str(text), word;
    size_t      column = 0;

    while (span_cut(&rest, ' ', &word)) {
        if (column > 0 && column + 1 + word.len > WIDTH) {
            buf_putc(out, '\n');
            column = 0;
        }
        struct span before = column == 0 ? span_str(head) : SPAN(" ");
        buf_put(out, before);
        buf_put(out, word);
        column += before.len + word.len;
    }
    buf_putc(out, '\n');
}

void setting_print(const struct settings *settings, enum setting setting, struct buf *out)
{
    value_put(&setting_rows[setting], settings, out);
}

/* --- --help -------------------------------------------------------------------------------------------------- */

static void flag_put(struct buf *out, const char *name)
{
    for (; *name != '\0'; name++)
        buf_putc(out, *name == '_' ? '-' : *name);
}

static void option_print(const struct value_row *row, struct buf *out)
{
    buf_put_lit(out, "  --");
    flag_put(out, row->name);
    buf_put(out, row->kind == VALUE_SWITCH ? SPAN("[=") : SPAN(" "));
    buf_put_lit(out, "VALUE");
    buf_put(out, row->kind == VALUE_SWITCH ? SPAN("]") : SPAN(""));
    buf_put_lit(out, "  ");
    value_put_allowed(row, out);
    buf_put_lit(out, "; default ");
    size_t before = out->len;
    value_put_default(row, out);
    if (out->len == before)
        buf_put_lit(out, "empty");
    buf_putc(out, '\n');
    wrapped_put(out, "        ", row->help);
}

static const char help_head[] =
    "longwired - the Longwire push server\n"
    "\n"
    "Usage: longwired [--config FILE] [--NAME VALUE | --NAME=VALUE]...\n"
    "\n"
    "Each setting below is also a line `NAME = VALUE` of the configuration file and a variable LONGWIRE_NAME.\n"
    "Flags beat the environment, that beats the file, that beats the defaults. API keys, back ends and namespaces\n"
    "stand in the file alone, see docs/configuration.md.\n"
    "\n"
    "  --config FILE     the configuration file (or LONGWIRE_CONFIG); without it there is none\n"
    "  --check           read everything, print what is in force and from where; exit 0, or 2 if something is wrong\n"
    "  --init            make the schema in the PostgreSQL databases that `store` names, and exit; harmless if it is there\n"
    "  --copy            copy the data directory `data` into the new PostgreSQL databases that `store` names, and exit; goes on\n"
    "                    if it was ended before\n"
    "  --repair          repair a damaged data directory as far as possible, say what it cost, and exit\n"
    "  --take-over       take the place of the server that runs on the same data: its sockets and its clients; it ends, or goes\n"
    "                    on if this one can't start\n"
    "  --reload          for ExecReload= of systemd: the server $MAINPID reads its configuration again; if this file is another\n"
    "                    program than it runs, a new process takes its place\n"
    "  --print-config    print a configuration file with every setting, its default and its meaning\n"
    "  --print-docs      print docs/configuration.md\n"
    "  --help, --version\n"
    "\n"
    "Sizes may be written 64K, 8M, 1G; times 500ms, 30s, 5m, 2h, 7d.\n";

void settings_print_help(struct buf *out)
{
    buf_put(out, span_str(help_head));
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        if (entries[i].title != NULL)
            buf_putf(out, "\n%s:\n", entries[i].title);
        else
            option_print(&setting_rows[entries[i].setting], out);
    }
}

/* --- --print-config ------------------------------------------------------------------------------------------ */

static void line_print(const struct value_row *row, struct buf *out)
{
    buf_putc(out, '\n');
    wrapped_put(out, "; ", row->help);
    buf_put_lit(out, "; May be ");
    value_put_allowed(row, out);
    buf_putf(out, ".\n#%s = ", row->name);
    value_put_default(row, out);
    buf_putc(out, '\n');
}

static const char config_head[] =
    "; Configuration of longwired: every setting with its default. To change one, take the # away.\n"
    "; A line is a setting, a [section] or a comment. A comment begins with ; or #, at the line's beginning or behind a\n"
    "; blank. Values stand without quotes; neither ~ nor $NAME is replaced.\n"
    "; Sizes may be written 64K, 8M, 1G; times 500ms, 30s, 5m, 2h, 7d.\n"
    "; `longwired --check` says what is in force.\n";

static const char config_tail[] =
    "\n\n; ---- API keys and namespaces come last\n"
    "\n"
    "; [key app]\n"
    "; secret = at least 16 characters, for instance from: openssl rand -base64 24\n"
    "; rights = publish, subscribe\n"
    "\n"
    "; [backend shop]\n"
    "; url = http://127.0.0.1:9000\n"
    "\n"
    "; [uplink orders]\n"
    "; path = /orders/**\n"
    "; backend = shop\n"
    "\n"
    "; [namespace news]\n"
    "; durability = durable\n"
    "; keep_age = 30d\n"
    "; subscribe = anyone\n"
    "; publish = key\n";

void settings_print_config(struct buf *out)
{
    buf_put(out, span_str(config_head));
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        if (entries[i].title != NULL)
            buf_putf(out, "\n\n; ---- %s\n", entries[i].title);
        else
            line_print(&setting_rows[entries[i].setting], out);
    }
    buf_put(out, span_str(config_tail));
}

/* --- docs ---------------------------------------------------------------------------------------------------- */

#define DOCS_TABLE_HEAD "| setting | default | allowed | a change takes | meaning |\n|---|---|---|---|---|\n"

static void setting_print_docs(enum setting setting, struct buf *out)
{
    const struct value_row *row = &setting_rows[setting];

    buf_putf(out, "| `%s` | ", row->name);
    size_t before = out->len;
    value_put_default(row, out);
    if (out->len == before)
        buf_put_lit(out, "(empty)");
    buf_put_lit(out, " | ");
    value_put_allowed(row, out);
    buf_putf(out, " | %s | %s |\n", setting_is_reloadable(setting) ? "reload" : "restart", row->help);
}

static const char docs_head[] =
    "# Configuration\n"
    "\n"
    "<!-- Made by `longwired --print-docs` from src/settings/settings.def and section.c; a test holds it to that. -->\n"
    "\n"
    "Longwire needs none: without any it listens on 127.0.0.1:8080 and keeps its messages in `./data`. Each\n"
    "setting can be given, the later beating the earlier, as\n"
    "\n"
    "1. a line `name = value` of the file that `--config FILE` or `LONGWIRE_CONFIG` names,\n"
    "2. a variable of the environment, `LONGWIRE_NAME`,\n"
    "3. a flag, `--name VALUE` or `--name=VALUE`; `-` and `_` are the same, a true/false setting needs no value.\n"
    "\n"
    "In the file, a line is a setting, a `[section]` or a comment. A comment begins with `;` or `#`, at the line's\n"
    "beginning or behind a blank. Values stand without quotes, and neither `~` nor `$NAME` is replaced. Sizes may be\n"
    "written `64K`, `8M`, `1G` (of 1,024), times `500ms`, `30s`, `5m`, `2h`, `7d`; a plain number is bytes, or the\n"
    "unit in the setting's name (seconds where there is none).\n"
    "\n"
    "What can't be understood is refused at the start, with file, line and what is allowed: unknown names and\n"
    "sections, doubles, numbers out of range, broken lines, a key without a secret, an address that other machines\n"
    "can reach while there is no key. `longwired --check` reads everything and prints what is in force and where it\n"
    "came from; `longwired --print-config` prints a file to start from.\n"
    "\n"
    "A change takes a reload (SIGHUP, `systemctl reload`) where the tables say so, else a restart: see\n"
    "[operations.md](operations.md#reload).\n";

static const char docs_tail[] =
    "\n"
    "## Meanings that have changed\n"
    "\n"
    "A setting has one meaning ([decision 23](decisions/0023-one-setting-one-meaning.md)). These had several; "
    "each kept\n"
    "the one that it names, and the other one got a setting of its own, with the same default:\n"
    "\n"
    "| if you have set | also for | then set |\n"
    "|---|---|---|\n"
    "| `pipeline_max` | publishes under way on one WebSocket | `publishes_per_connection_max` |\n"
    "| `request_timeout_s` | WebSocket messages that come in pieces | `frame_timeout_s` |\n"
    "| `sse_retry_ms` | `after` of a WebSocket's `reconnect` | `reconnect_ms` |\n"
    "\n"
    "`history_limit_max` above 1,000 was cut to 1,000 in silence; now it is refused at the start.\n";

void settings_print_docs(struct buf *out)
{
    buf_put(out, span_str(docs_head));
    for (size_t i = 0; i < ENTRY_COUNT; i++) {
        if (entries[i].title != NULL)
            buf_putf(out, "\n## %s\n\n" DOCS_TABLE_HEAD, entries[i].title);
        else
            setting_print_docs(entries[i].setting, out);
    }
    section_print_docs(out);
    buf_put(out, span_str(docs_tail));
}

/* --- --check ------------------------------------------------------------------------------------------------- */

static void source_put(const struct settings *settings, enum setting setting, struct buf *out)
{
    const char *name = setting_rows[setting].name;

    switch (settings->source_of[setting]) {
    case FROM_DEFAULT: buf_put_lit(out, "default"); break;
    case FROM_FILE: buf_putf(out, "file, line %u", settings->line_of[setting]); break;
    case FROM_ENVIRONMENT:
        buf_put_lit(out, "LONGWIRE_");
        for (; *name != '\0'; name++)
            buf_putc(out, *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name);
        break;
    case FROM_FLAG:
        buf_put_lit(out, "--");
        flag_put(out, name);
        break;
    }
}

/* A text may be a URL with a password. */
static void setting_show(const struct settings *settings, enum setting setting, struct buf *out)
{
    if (setting_rows[setting].kind == VALUE_TEXT)
        url_put_shown(out, span_str((const char *)settings + setting_rows[setting].offset));
    else
        setting_print(settings, setting, out);
}

void settings_print_in_force(const struct settings *settings, struct buf *out)
{
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        size_t from = out->len;
        buf_putf(out, "%s = ", setting_rows[setting].name);
        setting_show(settings, setting, out);
        buf_putf(out, "%*s ; ", out->len - from < 44 ? (int)(44 - (out->len - from)) : 0, "");
        source_put(settings, setting, out);
        buf_putc(out, '\n');
    }
    section_print_in_force(settings, out);
}
