/* manual.c - `longwire man`: the man page, and the reference of docs/command-line.md. */
#include <ctype.h>

#include "base/version.h"
#include "longwire/cli.h"
#include "longwire/help.h"
#include "longwire/print.h"

enum { PAGE_BYTES_MAX = 1024 * 1024, ROFF_LINE_BYTES = 60 };

#define MANUAL_DATE "2026-11-28"  /* when what it says changed last */

/* --- man(7) ----------------------------------------------------------------------------------------------------- */

/* Breaks the line if it has grown long and a space outside code stands here. */
static bool roff_break(struct buf *buf, char byte, size_t line_at, bool is_code)
{
    if (byte != ' ' || is_code || buf->len - line_at < ROFF_LINE_BYTES)
        return false;
    buf_putc(buf, '\n');
    return true;
}

/* man(7): a backslash is \e, a minus \-, and no line may begin with a dot or an apostrophe. Text between marks of code
 * is bold. Long lines are broken if they may be. Puts no newline at the end. */
static void roff_put_text_of(struct buf *buf, struct span text, bool may_break)
{
    bool   is_code = false;
    size_t line_at = buf->len;

    for (size_t i = 0; i < text.len; i++) {
        if (buf->len == line_at && (text.at[i] == '.' || text.at[i] == '\''))
            buf_put_lit(buf, "\\&");
        if (may_break && roff_break(buf, text.at[i], line_at, is_code)) {
            line_at = buf->len;
            continue;
        }
        switch (text.at[i]) {
        case '`':
            is_code = !is_code;
            buf_put(buf, is_code ? SPAN("\\fB") : SPAN("\\fR"));
            break;
        case '\\': buf_put_lit(buf, "\\e"); break;
        case '-':  buf_put_lit(buf, "\\-"); break;
        case '\'': buf_put_lit(buf, "\\(aq"); break;
        default:   buf_putc(buf, text.at[i]); break;
        }
    }
}

static void roff_put(struct buf *buf, struct span text)
{
    roff_put_text_of(buf, text, true);
    buf_putc(buf, '\n');
}

/* A table of lines that stay as they are, as those of the exit status: the number and what it means. */
static void roff_put_row(struct buf *buf, struct span line)
{
    struct span number;
    line = span_trim(line);
    if (!span_cut(&line, ' ', &number))
        return;
    buf_put_lit(buf, ".TP 5\n");
    roff_put(buf, number);
    roff_put(buf, span_trim(line));
}

static void roff_put_text(struct buf *buf, const char *text)
{
    struct span rest = span_str(text), line;
    while (span_cut(&rest, '\n', &line)) {
        if (span_starts(line, SPAN("  ")))
            roff_put_row(buf, line);
        else if (line.len > 0)
            roff_put(buf, line);
        else
            buf_put_lit(buf, ".PP\n");
    }
}

static void roff_put_option(struct buf *buf, const struct tool_option *option)
{
    buf_put_lit(buf, ".TP\n");
    for (const char *letter = option->letters; *letter != '\0'; letter++)
        buf_putf(buf, "\\fB\\-%c\\fR, ", *letter);
    buf_put_lit(buf, "\\fB\\-\\-");
    for (const char *at = option->name; *at != '\0'; at++)
        if (*at == '-')
            buf_put_lit(buf, "\\-");
        else
            buf_putc(buf, *at);
    buf_put_lit(buf, "\\fR");
    if (option->value != NULL)
        buf_putf(buf, " \\fI%s\\fR", option->value);
    buf_putc(buf, '\n');
    roff_put(buf, span_str(option->help));
}

static void roff_put_options(struct buf *buf, const struct tool_option *list)
{
    for (; list->name != NULL; list++)
        roff_put_option(buf, list);
}

static void roff_put_examples(struct buf *buf, const char *const *examples)
{
    buf_put_lit(buf, ".nf\n");
    for (; *examples != NULL; examples++) {
        buf_put_lit(buf, "    ");
        roff_put_text_of(buf, span_str(*examples), false);
        buf_putc(buf, '\n');
    }
    buf_put_lit(buf, ".fi\n");
}

static void roff_put_sections(struct buf *buf, const struct tool_section *sections)
{
    for (; sections->title != NULL; sections++) {
        buf_put_lit(buf, ".SH ");
        for (const char *letter = sections->title; *letter != '\0'; letter++)
            buf_putc(buf, (char)toupper((unsigned char)*letter));
        buf_putc(buf, '\n');
        roff_put_text(buf, sections->body);
    }
}

static void roff_put_command(struct buf *buf, const struct tool_command *command)
{
    struct buf title;
    buf_init(&title, 1024);
    buf_putf(&title, "longwire %s %s", command->name, command->usage);
    buf_put_lit(buf, ".SS ");
    roff_put(buf, span_trim(buf_span(&title)));
    buf_fini(&title);

    buf_putc(buf, (char)(command->summary[0] ^ ' '));
    roff_put_text_of(buf, span_str(command->summary + 1), true);
    buf_put_lit(buf, ".\n.PP\n");
    roff_put_text(buf, command->about);
    roff_put_options(buf, command->options);
    for (const struct tool_section *at = command->sections; at->title != NULL; at++) {
        buf_putf(buf, ".PP\n\\fI%s.\\fR\n", at->title);
        roff_put_text(buf, at->body);
    }
    buf_put_lit(buf, ".PP\n");
    roff_put_examples(buf, command->examples);
}

static void manual_put(struct buf *buf)
{
    buf_put_lit(buf, ".TH LONGWIRE 1 \"" MANUAL_DATE "\" \"Longwire " LONGWIRE_VERSION "\" \"User Commands\"\n"
                     ".SH NAME\nlongwire \\- talk to a Longwire server from the command line\n"
                     ".SH SYNOPSIS\n.B longwire\n.I COMMAND\n[\\fIoptions\\fR] [\\fIwords\\fR]\n"
                     ".SH DESCRIPTION\n");
    roff_put(buf, SPAN("Publishes to the channels of a Longwire server, follows them, and looks at what they keep. "
                       "Options may stand before the words of a command or behind them; what follows `--` is a word."));
    buf_put_lit(buf, ".SH COMMANDS\n");
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        roff_put_command(buf, *at);
    buf_put_lit(buf, ".SH OPTIONS\nAll commands take these, before their name or behind it.\n");
    roff_put_options(buf, common_options);
    roff_put_sections(buf, tool_sections);
    buf_put_lit(buf, ".SH EXAMPLES\n");
    roff_put_examples(buf, tool_examples);
}

/* --- Markdown --------------------------------------------------------------------------------------------------- */

static void page_put_options(struct buf *buf, const struct tool_option *list)
{
    if (list->name == NULL)
        return;
    buf_put_lit(buf, "\n| option | |\n|---|---|\n");
    for (; list->name != NULL; list++) {
        buf_put_lit(buf, "| ");
        for (const char *letter = list->letters; *letter != '\0'; letter++)
            buf_putf(buf, "`-%c`, ", *letter);
        buf_putf(buf, "`--%s%s%s` | %s |\n", list->name, list->value != NULL ? " " : "",
                 list->value != NULL ? list->value : "", list->help);
    }
}

/* Lines that begin with two spaces become a block. */
static void page_put_text(struct buf *buf, const char *text)
{
    struct span rest = span_str(text), line;
    while (span_cut(&rest, '\n', &line)) {
        if (span_starts(line, SPAN("  ")))
            buf_put_lit(buf, "  ");
        buf_put(buf, line);
        buf_putc(buf, '\n');
    }
}

static void page_put_examples(struct buf *buf, const char *const *examples)
{
    buf_put_lit(buf, "\n```sh\n");
    for (; *examples != NULL; examples++)
        buf_putf(buf, "%s\n", *examples);
    buf_put_lit(buf, "```\n");
}

static void page_put_command(struct buf *buf, const struct tool_command *command)
{
    buf_putf(buf, "\n### longwire %s\n\n`longwire %s%s%s [options]`: %s.\n\n", command->name, command->name,
             command->usage[0] != '\0' ? " " : "", command->usage, command->summary);
    page_put_text(buf, command->about);
    page_put_options(buf, command->options);
    for (const struct tool_section *at = command->sections; at->title != NULL; at++) {
        buf_putf(buf, "\n**%s.** ", at->title);
        page_put_text(buf, at->body);
    }
    page_put_examples(buf, command->examples);
}

static void page_put(struct buf *buf)
{
    buf_put_lit(buf, "### Options of all commands\n\nThey stand before the command's name or behind it.\n");
    page_put_options(buf, common_options);
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        page_put_command(buf, *at);
    for (const struct tool_section *at = tool_sections; at->title != NULL; at++) {
        buf_putf(buf, "\n### %s\n\n", at->title);
        page_put_text(buf, at->body);
    }
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static bool man_option(void *arg, int option, const char *value)
{
    bool *is_page = arg;
    (void)value;
    *is_page = option == OPTION_MARKDOWN;
    return true;
}

int command_man(struct invocation *invocation)
{
    bool       is_page = false;
    struct buf text;

    if (!invocation_read(invocation, man_option, &is_page))
        return invocation->exit;
    buf_init(&text, PAGE_BYTES_MAX);
    if (is_page)
        page_put(&text);
    else
        manual_put(&text);
    must(!buf_is_over(&text));
    int exit_code = print_once(buf_span(&text));
    buf_fini(&text);
    return exit_code;
}
