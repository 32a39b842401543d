/* completion.c - `longwire completion`: what shells offer behind `longwire`, made from the table of commands.
 *
 * The scripts hold all words themselves and run nothing. */
#include <stdio.h>

#include "longwire/cli.h"
#include "longwire/command.h"
#include "longwire/print.h"

enum { SCRIPT_BYTES_MAX = 1024 * 1024 };

static bool is_file(const struct tool_option *option)
{
    return option->choices != NULL && span_eq(span_str(option->choices), SPAN(CHOICES_FILE));
}

/* The beginning of a help text, up to the first mark that ends a thought. */
static struct span brief_of(const char *text)
{
    size_t len = 0;
    while (text[len] != '\0' && text[len] != ';' && text[len] != '(' && text[len] != ':')
        len++;
    return span_trim(span_of(text, len));
}

/* As it can stand in the single quotes of bash, zsh and fish, and in zsh's brackets. */
static void put_quotable(struct buf *buf, struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (strchr("`'[]\\:", text.at[i]) == NULL)
            buf_putc(buf, text.at[i]);
}

/* --- bash ------------------------------------------------------------------------------------------------------- */

static void bash_put_names(struct buf *buf, const struct tool_option *list)
{
    for (; list->name != NULL; list++) {
        buf_putf(buf, " --%s", list->name);
        for (const char *letter = list->letters; *letter != '\0'; letter++)
            buf_putf(buf, " -%c", *letter);
    }
}

/* What is offered for the value of each option: "--format|-F) …". */
static void bash_put_values(struct buf *buf, const struct tool_option *list)
{
    for (; list->name != NULL; list++) {
        if (list->value == NULL)
            continue;
        buf_putf(buf, "        --%s", list->name);
        for (const char *letter = list->letters; *letter != '\0'; letter++)
            buf_putf(buf, "|-%c", *letter);
        buf_put_lit(buf, ") ");
        if (is_file(list))
            buf_put_lit(buf, "compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\")); ");
        else if (list->choices != NULL)
            buf_putf(buf, "COMPREPLY=($(compgen -W '%s' -- \"$word\")); ", list->choices);
        buf_put_lit(buf, "return ;;\n");
    }
}

static void bash_put_case(struct buf *buf, const char *name, const struct tool_option *list)
{
    buf_putf(buf, "    %s)\n        case $before in\n", name);
    if (list != NULL)
        bash_put_values(buf, list);
    bash_put_values(buf, common_options);
    buf_put_lit(buf, "        esac\n        options='");
    if (list != NULL)
        bash_put_names(buf, list);
    bash_put_names(buf, common_options);
    buf_put_lit(buf, "'\n        words='");
}

static void bash_put(struct buf *buf)
{
    buf_put_lit(buf, "# What bash offers behind longwire. Made by: longwire completion bash\n"
                     "_longwire() {\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                     "    local command='' options='' words='' i\n"
                     "    COMPREPLY=()\n"
                     "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                     "        case ${COMP_WORDS[i]} in\n"
                     "        --server|-s|--key|-k) ((i++)) ;;\n"
                     "        -*) ;;\n"
                     "        *) command=${COMP_WORDS[i]}; break ;;\n"
                     "        esac\n"
                     "    done\n"
                     "    case $command in\n");
    bash_put_case(buf, "''", NULL);
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        buf_putf(buf, " %s", (*at)->name);
    buf_put_lit(buf, "' ;;\n");
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        bash_put_case(buf, (*at)->name, (*at)->options);
        buf_putf(buf, "%s' ;;\n", (*at)->choices != NULL ? (*at)->choices : "");
    }
    buf_put_lit(buf, "    esac\n"
                     "    [[ $word != -* ]] || words=$options\n"
                     "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                     "}\n"
                     "complete -F _longwire longwire\n");
}

/* --- zsh -------------------------------------------------------------------------------------------------------- */

/* One form of an option, as _arguments takes it: '-F[what it does]:FORMAT:(text json)'. */
static void zsh_put_form(struct buf *buf, const struct tool_option *option, struct span form)
{
    buf_putf(buf, "        '%.*s[", SPAN_ARG(form));
    put_quotable(buf, brief_of(option->help));
    buf_putc(buf, ']');
    if (option->value != NULL)
        buf_putf(buf, ":%s:", option->value);
    if (is_file(option))
        buf_put_lit(buf, "_files");
    else if (option->choices != NULL)
        buf_putf(buf, "(%s)", option->choices);
    buf_put_lit(buf, "'\n");
}

static void zsh_put_options(struct buf *buf, const struct tool_option *list)
{
    for (; list->name != NULL; list++) {
        struct buf form;
        buf_init(&form, 128);
        buf_putf(&form, "--%s", list->name);
        zsh_put_form(buf, list, buf_span(&form));
        for (const char *letter = list->letters; *letter != '\0'; letter++) {
            buf_clear(&form);
            buf_putf(&form, "-%c", *letter);
            zsh_put_form(buf, list, buf_span(&form));
        }
        buf_fini(&form);
    }
}

static void zsh_put_command(struct buf *buf, const struct tool_command *command)
{
    buf_putf(buf, "    %s) options+=(\n", command->name);
    zsh_put_options(buf, command->options);
    if (command->choices != NULL)
        buf_putf(buf, "        '*:word:(%s)'\n", command->choices);
    else
        buf_put_lit(buf, "        '*:word:'\n");
    buf_put_lit(buf, "        ) ;;\n");
}

static void zsh_put(struct buf *buf)
{
    buf_put_lit(buf, "#compdef longwire\n"
                     "# What zsh offers behind longwire. Made by: longwire completion zsh\n"
                     "_longwire() {\n"
                     "    local -a options commands\n"
                     "    local state line\n"
                     "    options=(\n");
    zsh_put_options(buf, common_options);
    buf_put_lit(buf, "    )\n    commands=(\n");
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        buf_putf(buf, "        '%s:", (*at)->name);
        put_quotable(buf, span_str((*at)->summary));
        buf_put_lit(buf, "'\n");
    }
    buf_put_lit(buf, "    )\n"
                     "    _arguments -s -C $options '1:command:->command' '*::word:->words' && return\n"
                     "    if [[ $state == command ]]; then\n"
                     "        _describe command commands\n"
                     "        return\n"
                     "    fi\n"
                     "    case $line[1] in\n");
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        zsh_put_command(buf, *at);
    buf_put_lit(buf, "    esac\n"
                     "    _arguments -s $options\n"
                     "}\n"
                     "if [[ $funcstack[1] == _longwire ]]; then\n"
                     "    _longwire \"$@\"\n"
                     "else\n"
                     "    compdef _longwire longwire\n"
                     "fi\n");
}

/* --- fish ------------------------------------------------------------------------------------------------------- */

static void fish_put_options(struct buf *buf, const char *condition, const struct tool_option *list)
{
    for (; list->name != NULL; list++) {
        buf_putf(buf, "complete -c longwire%s", condition);
        for (const char *letter = list->letters; *letter != '\0'; letter++)
            buf_putf(buf, " -s %c", *letter);
        buf_putf(buf, " -l %s", list->name);
        if (is_file(list))
            buf_put_lit(buf, " -r -F");
        else if (list->value != NULL)
            buf_put_lit(buf, " -x");
        if (list->choices != NULL && !is_file(list))
            buf_putf(buf, " -a '%s'", list->choices);
        buf_put_lit(buf, " -d '");
        put_quotable(buf, brief_of(list->help));
        buf_put_lit(buf, "'\n");
    }
}

static void fish_put(struct buf *buf)
{
    char condition[128];

    buf_put_lit(buf, "# What fish offers behind longwire. Made by: longwire completion fish\n"
                     "function __longwire_command\n"
                     "    set -l words (commandline -opc)\n"
                     "    set -l is_value 0\n"
                     "    for word in $words[2..]\n"
                     "        if test $is_value = 1\n"
                     "            set is_value 0\n"
                     "            continue\n"
                     "        end\n"
                     "        switch $word\n"
                     "            case --server -s --key -k\n"
                     "                set is_value 1\n"
                     "            case '-*'\n"
                     "            case '*'\n"
                     "                echo $word\n"
                     "                return\n"
                     "        end\n"
                     "    end\n"
                     "end\n"
                     "complete -c longwire -f\n");
    fish_put_options(buf, "", common_options);
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        buf_putf(buf, "complete -c longwire -n 'test -z \"$(__longwire_command)\"' -a %s -d '", (*at)->name);
        put_quotable(buf, span_str((*at)->summary));
        buf_put_lit(buf, "'\n");
    }
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++) {
        snprintf(condition, sizeof condition, " -n 'test \"$(__longwire_command)\" = %s'", (*at)->name);
        fish_put_options(buf, condition, (*at)->options);
        if ((*at)->choices != NULL)
            buf_putf(buf, "complete -c longwire%s -a '%s'\n", condition, (*at)->choices);
    }
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static const struct shell {
    const char *name;
    void (*put)(struct buf *buf);
} shells[] = { { "bash", bash_put }, { "zsh", zsh_put }, { "fish", fish_put } };

int command_completion(struct invocation *invocation)
{
    const struct shell *shell = NULL;
    struct buf          script;

    if (!invocation_read(invocation, NULL, NULL))
        return invocation->exit;
    for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
        if (span_eq(span_str(invocation->words[0]), span_str(shells[i].name)))
            shell = &shells[i];
    if (shell == NULL) {
        say("%s", invocation->command->words_ask);
        return EXIT_USAGE;
    }
    buf_init(&script, SCRIPT_BYTES_MAX);
    shell->put(&script);
    must(!buf_is_over(&script));
    int exit_code = print_once(buf_span(&script));
    buf_fini(&script);
    return exit_code;
}
