/* help.c - --help and `longwire help`: text for a terminal of 80 columns. */
#include "longwire/help.h"

#include "longwire/cli.h"
#include "longwire/print.h"

enum { COLUMNS = 80, OPTION_COLUMN = 24 };

/* Marks of code are for pages alone. */
static void put_plain(struct buf *buf, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] != '`')
            buf_putc(buf, text.at[i]);
}

static size_t plain_len(struct span text)
{
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++)
        len += text.at[i] != '`';
    return len;
}

static void put_spaces(struct buf *buf, size_t count)
{
    buf_putf(buf, "%*s", (int)count, "");
}

/* The next word; text between marks of code is one, with its spaces. */
static bool word_take(struct span *rest, struct span *ret)
{
    bool   is_code = false;
    size_t len     = 0;

    *rest = span_trim(*rest);
    for (; len < rest->len && (is_code || rest->at[len] != ' '); len++)
        is_code ^= rest->at[len] == '`';
    *ret  = span_head(*rest, len);
    *rest = span_skip(*rest, len);
    return len > 0;
}

/* Puts one paragraph, broken into lines. The first one begins at `column` already, the others are indented. */
static void put_paragraph(struct buf *buf, struct span text, size_t column, size_t indent)
{
    struct span word;
    bool        is_first = true;

    while (word_take(&text, &word)) {
        if (!is_first && column + 1 + plain_len(word) > COLUMNS) {
            buf_putc(buf, '\n');
            put_spaces(buf, indent);
            column   = indent;
            is_first = true;
        }
        if (!is_first)
            buf_putc(buf, ' ');
        put_plain(buf, word);
        column += plain_len(word) + !is_first;
        is_first = false;
    }
    buf_putc(buf, '\n');
}

/* Lines that begin with spaces stay; the others are paragraphs. */
static void put_text(struct buf *buf, const char *text, size_t indent)
{
    struct span rest = span_str(text), line;
    while (span_cut(&rest, '\n', &line)) {
        bool is_as_it_is = span_starts(line, SPAN("  "));
        if (line.len > 0 && !is_as_it_is)
            put_spaces(buf, indent);
        if (is_as_it_is) {
            put_plain(buf, line);
            buf_putc(buf, '\n');
        } else {
            put_paragraph(buf, line, indent, indent);
        }
    }
}

static void put_option(struct buf *buf, const struct tool_option *option)
{
    size_t before = buf->len;
    if (option->letters[0] != '\0')
        buf_putf(buf, "  -%c, ", option->letters[0]);
    else
        buf_put_lit(buf, "      ");
    buf_putf(buf, "--%s", option->name);
    if (option->value != NULL)
        buf_putf(buf, " %s", option->value);
    size_t column = buf->len - before;
    if (column + 2 > OPTION_COLUMN) {
        buf_putc(buf, '\n');
        column = 0;
    }
    put_spaces(buf, OPTION_COLUMN - column);
    put_paragraph(buf, span_str(option->help), OPTION_COLUMN, OPTION_COLUMN);
    for (const char *letter = option->letters; *letter != '\0' && letter[1] != '\0'; letter++) {
        put_spaces(buf, OPTION_COLUMN);
        buf_putf(buf, "(also -%c)\n", letter[1]);
    }
}

static void put_options(struct buf *buf, const char *title, const struct tool_option *list)
{
    if (list->name == NULL)
        return;
    buf_putf(buf, "\n%s\n", title);
    for (; list->name != NULL; list++)
        put_option(buf, list);
}

static void put_sections(struct buf *buf, const struct tool_section *sections)
{
    for (; sections->title != NULL; sections++) {
        buf_putf(buf, "\n%s\n", sections->title);
        put_text(buf, sections->body, 2);
    }
}

static void put_examples(struct buf *buf, const char *const *examples)
{
    buf_put_lit(buf, "\nExamples\n");
    for (; *examples != NULL; examples++)
        buf_putf(buf, "  %s\n", *examples);
}

static void put_command(struct buf *buf, const struct tool_command *command)
{
    buf_putf(buf, "longwire %s %s%s[options]\n\n", command->name, command->usage, command->usage[0] != '\0' ? " " : "");
    buf_putc(buf, (char)(command->summary[0] ^ ' '));
    buf_putf(buf, "%s.\n\n", command->summary + 1);
    put_text(buf, command->about, 0);
    put_options(buf, "Options", command->options);
    put_options(buf, "Options of all commands", common_options);
    put_sections(buf, command->sections);
    buf_put_lit(buf, "\nExit status: 0 done, 1 refused, 2 server not reached, 3 timeout, 64 wrong\n"
                     "command line; see longwire --help.\n");
    put_examples(buf, command->examples);
}

static void put_general(struct buf *buf)
{
    buf_put_lit(buf, "longwire - talk to a Longwire server from the command line\n\nCommands\n");
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        size_t before = buf->len;
        buf_putf(buf, "  longwire %s %s", (*at)->name, (*at)->usage);
        size_t column = buf->len - before;
        put_spaces(buf, column + 2 > 36 ? 2 : 36 - column);
        put_paragraph(buf, span_str((*at)->summary), 36, 36);
    }
    buf_put_lit(buf, "\n  longwire COMMAND --help           all about one of them, with examples\n");
    put_options(buf, "Options of all commands, before the command or behind it", common_options);
    put_sections(buf, tool_sections);
    put_examples(buf, tool_examples);
}

void help_put(const struct tool_command *command, struct buf *buf)
{
    if (command != NULL)
        put_command(buf, command);
    else
        put_general(buf);
    must(!buf_is_over(buf));
}

int help_print(const struct tool_command *command)
{
    struct buf text;
    buf_init(&text, HELP_BYTES_MAX);
    help_put(command, &text);
    int exit_code = print_once(buf_span(&text));
    buf_fini(&text);
    return exit_code;
}

int command_help(struct invocation *invocation)
{
    const struct tool_command *command = NULL;

    if (!invocation_read(invocation, NULL, NULL))
        return invocation->exit;
    if (invocation->word_count > 0) {
        command = command_find(span_str(invocation->words[0]));
        if (command == NULL) {
            say("there is no command \"%s\"; see longwire --help", invocation->words[0]);
            return EXIT_USAGE;
        }
    }
    return help_print(command);
}
