/* must.h - what we promise ourselves. On in release too: a broken promise ends the process with its text. So does memory
 * that the system doesn't give: must(at != NULL). */
#ifndef BASE_MUST_H
#define BASE_MUST_H

_Noreturn void must_failed(const char *promise, const char *file, int line);

#define must(promise) ((promise) ? (void)0 : must_failed(#promise, __FILE__, __LINE__))

#endif
