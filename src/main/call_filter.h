/* call_filter.h - system calls that a push server never makes are refused by the kernel (seccomp).
 *
 * A list of what is refused, not of what is allowed: RocksDB, libcurl, libpq, OpenSSL and libc make other calls with each version,
 * and a list that lacks one of them stops the server on the day of an upgrade. What is refused is what an intruder needs to go
 * on: to start a program, to look into other processes, to change the machine, to reach devices and kernel modules. A
 * refused call fails with EPERM, so that a library which merely tries goes on without it. */
#ifndef MAIN_CALL_FILTER_H
#define MAIN_CALL_FILTER_H

/* For this thread and those that it starts from now on. Says so in the log if the kernel can't do it. */
void call_filter_install(void);

#endif
