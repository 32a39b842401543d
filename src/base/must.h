/* must.h - assertions that are on in release too. A broken one ends the process with its text, and so does memory that
 * the system does not give: must(at != NULL). */
#ifndef BASE_MUST_H
#define BASE_MUST_H

_Noreturn void must_failed(const char *promise, const char *file, int line);

#define must(promise) ((promise) ? (void)0 : must_failed(#promise, __FILE__, __LINE__))

#endif
