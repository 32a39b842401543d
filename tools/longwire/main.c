/* main.c - `longwire`: the command line tool. Finds the command and runs it. */
#include <signal.h>
#include <stdlib.h>

#include "longwire/command.h"

int main(int argc, char **argv)
{
    struct invocation invocation;

    /* If the reader of our output leaves, the write that fails reports it, where it can be handled. */
    signal(SIGPIPE, SIG_IGN);

    if (invocation_begin(&invocation, argc, argv))
        invocation.exit = invocation.command->run(&invocation);
    target_fini(&invocation.target);
    return invocation.exit;
}
