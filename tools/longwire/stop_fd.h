/* stop_fd.h - Ctrl-C and SIGTERM as a descriptor that can be waited for. */
#ifndef LONGWIRE_STOP_FD_H
#define LONGWIRE_STOP_FD_H

/* It becomes readable when one of them comes; the process no longer ends by them. */
int stop_fd_open(void);

#endif
