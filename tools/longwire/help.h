/* help.h - the table of commands as text: --help, the man page, the page in docs/. */
#ifndef LONGWIRE_HELP_H
#define LONGWIRE_HELP_H

#include "longwire/command.h"

/* Help on one command, or in general (NULL), of at most HELP_BYTES_MAX. */
int  help_print(const struct tool_command *command);  /* to standard output; gives the exit status */
void help_put(const struct tool_command *command, struct buf *buf);

enum { HELP_BYTES_MAX = 256 * 1024 };

#endif
