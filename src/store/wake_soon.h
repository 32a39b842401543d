/* wake_soon.h - for a thread that works for some µs each time it is woken, while many wait for what it does.
 *
 * Where all processors are busy, a thread that is woken waits until one that runs has used up its slice, which is 0.7 to 3 ms on
 * Linux. Since Linux 6.12 it need not wait if its own slice is shorter. A slice says how soon and for how long at a time a thread
 * runs, not how much: no thread gets more of the processors by a shorter one, so it needs no right. */
#ifndef STORE_WAKE_SOON_H
#define STORE_WAKE_SOON_H

enum { WAKE_SOON_US = 500 };  /* less than any slice that Linux gives where nobody asks */

/* Gives the calling thread a slice of WAKE_SOON_US, and with it the threads that it starts from now on. Does nothing where the
 * system knows no slices or refuses, and to a thread that has a shorter slice or another policy than the normal one. */
void thread_wake_soon(void);

#endif
