#include "main/last_words.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

void last_words_prepare(void)
{
}

#else

/* What a signal handler may do, and no more: no memory is asked for, no lock is taken. */
static void say_chars(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void say_digits(uintptr_t number, unsigned base)
{
    char   digits[24];
    size_t at = sizeof digits;

    digits[--at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    say_chars(digits + at);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    say_chars("longwire: ended by signal ");
    say_digits((uintptr_t)number, 10);
    say_chars(" at address 0x");
    say_digits((uintptr_t)info->si_addr, 16);
    say_chars(": a fault of the program or of a library; some libraries fail so when memory runs out (docs/operations.md)\n");
    /* SA_RESETHAND: the same instruction, or the signal that is raised, ends the process now. */
    raise(number);
}

void last_words_prepare(void)
{
    static const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    struct sigaction action    = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | (int)SA_RESETHAND };

    must(sigemptyset(&action.sa_mask) == 0);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        must(sigaction(numbers[i], &action, NULL) == 0);
}

#endif
