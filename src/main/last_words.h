/* last_words.h - a line on standard error when a fault ends the process, in it or in a library: which one, and where.
 *
 * Some libraries (RocksDB 7.8, LZ4 1.9) don't look whether they got the memory that they asked for: then it is all that an
 * operator finds (docs/decisions/0013). The process still ends by the signal. Sanitizers have longer words of their own; with one
 * of them this does nothing. */
#ifndef MAIN_LAST_WORDS_H
#define MAIN_LAST_WORDS_H

/* Before other threads start. */
void last_words_prepare(void);

#endif
