/* reload_process.h - `longwired --reload`: what ExecReload= of the unit starts. It looks at the server that runs ($MAINPID), and does
 * what a reload needs:
 *
 *     the server runs this program           SIGHUP: it reads its configuration again
 *     this file is another program by now    a process of its own that takes the server's place (take_over.h)
 *     a node of a cluster                    SIGHUP in both cases
 *
 * The configuration has been read already, so a wrong one never comes here. */
#ifndef MAIN_RELOAD_PROCESS_H
#define MAIN_RELOAD_PROCESS_H

#include <stdbool.h>

#include "settings/settings.h"

/* True: this is the process that takes over, and *ret_ready is where reload_process_is_ready() says so. False: it is done, and
 * *ret_status is for exit(). Before the first thread. */
bool reload_process(const struct settings *settings, int *ret_ready, int *ret_status);

/* The process serves: whoever waits for the reload goes on. Closes it; -1: nobody waits. */
void reload_process_is_ready(int ready);

#endif
