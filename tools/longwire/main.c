/* main.c - `longwire`: the command line tool. Finds the command and hands over. */
#include <signal.h>
#include <stdio.h>

#include "longwire/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "sub", command_sub },   { "pub", command_pub },       { "history", command_history },
    { "info", command_info }, { "recall", command_recall },
};

static const char help[] =
    "longwire - talk to a Longwire server from the command line\n"
    "\n"
    "  longwire sub CHANNEL...          follow channels, print each message as it comes\n"
    "  longwire pub CHANNEL [DATA|-]    publish a message, or each line of standard input\n"
    "  longwire history CHANNEL         print what a channel keeps\n"
    "  longwire info [CHANNEL]          how the server is, or a channel\n"
    "  longwire recall CHANNEL SEQ      take a message back\n"
    "\n"
    "  longwire COMMAND --help          all about one of them, with examples\n"
    "\n"
    "A channel is named namespace:name, for instance topic:prices, user:alice or live:scores.\n"
    "\n"
    "All commands take\n"
    CLI_COMMON_HELP
    "\n"
    CLI_EXIT_HELP
    "\n"
    "Try it\n"
    "  longwire sub topic:hello                    in one terminal, and in another\n"
    "  longwire pub topic:hello 'Hello, world'\n";

int main(int argc, char **argv)
{
    struct span name = span_str(argc > 1 ? argv[1] : NULL);

    /* A reader that leaves is noticed by the write that fails, in the place where it can be answered. */
    signal(SIGPIPE, SIG_IGN);

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (span_eq(name, span_str(commands[i].name)))
            return commands[i].run(argc - 1, argv + 1);

    if (span_eq(name, SPAN("--help")) || span_eq(name, SPAN("-h")) || span_eq(name, SPAN("help"))) {
        fputs(help, stdout);
        return EXIT_FINE;
    }
    if (name.len == 0)
        fputs(help, stderr);
    else
        say("there is no command \"%s\"; see longwire --help", name.at);
    return EXIT_USAGE;
}
