/* random.h - randomness from the kernel, for keys and starting points that a client must not guess. */
#ifndef MAIN_RANDOM_H
#define MAIN_RANDOM_H

#include <stdint.h>

/* Never 0. */
uint64_t random_u64(void);

#endif
